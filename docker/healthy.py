"""Health check of the Airflow containers: asks the api-server whether a part of Airflow has a fresh heartbeat."""

import json
import sys
import urllib.request

PART = sys.argv[1]
with urllib.request.urlopen("http://api-server:8080/api/v2/monitor/health", timeout=5) as answer:
    health = json.load(answer)
sys.exit(0 if PART == "api_server" or health[PART]["status"] == "healthy" else 1)
