"""The image program behind gRPC: an API that decides, and processors that touch pixels.

| | API: `python -m service.api` | processor: `python -m service.processor` |
|---|---|---|
| gRPC | `--listen [::]:50051`, imagescaler.ImageScaler | `--listen [::]:50052`, imageprocessor.ImageProcessor |
| metrics | `--metrics 0.0.0.0:5001`, path /metrics | the same |
| variables | IMAGESCALER_ and the flag, as IMAGESCALER_SIZE | IMAGEPROCESSOR_ and the flag, as IMAGEPROCESSOR_SLOTS |

Flags are in settings.py. Health (grpc.health.v1) knows three names: "" and the service's own mean readiness, SERVING
until SIGTERM comes; "liveness" means the process, SERVING for as long as it answers. SIGTERM: NOT_SERVING, `--announce`
seconds for clients to go elsewhere, then what runs is finished within `--grace` seconds; exit code 0. A second
signal stops at once. Port 0 takes a free one; the ready line on stderr (JSON) names them:
{"message": "ready", "listen": port, "metrics": port, …}.
"""

import os

# gRPC's core writes lines of its own to stderr, which is for JSON: its faults reach us as codes and exceptions.
# Who wants to see them sets this, as GRPC_VERBOSITY=info; it is read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
