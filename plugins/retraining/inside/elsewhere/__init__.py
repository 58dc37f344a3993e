"""Models that answer the test rows elsewhere than in the evaluation: in another image, or in a container of their own."""
