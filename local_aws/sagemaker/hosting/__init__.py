"""Models that answer: model servers, endpoints, what is captured."""
