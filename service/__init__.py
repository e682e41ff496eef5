"""The image program behind gRPC: an API that decides, and processors that touch pixels.

| | API: `python -m service.api` | processor: `python -m service.processor` |
|---|---|---|
| gRPC | `--listen [::]:50051`, imagescaler.ImageScaler | `--listen [::]:50052`, imageprocessor.ImageProcessor |
| metrics | `--metrics 0.0.0.0:5001`, path /metrics | the same |
| variables | IMAGESCALER_ and the flag, as IMAGESCALER_SIZE | IMAGEPROCESSOR_ and the flag, as IMAGEPROCESSOR_SLOTS |

The flags are in common/settings.py. Health (grpc.health.v1) knows three names: "" and the name of the service stand for
readiness, which is SERVING until SIGTERM; "liveness" stands for the process, and is SERVING as long as it answers.
On SIGTERM readiness becomes NOT_SERVING. Clients have `--announce` seconds to go elsewhere, then running calls have
`--grace` seconds to finish, and the exit code is 0. A second signal stops the process at once. With port 0 the system
chooses a free port; the ready line on stderr (JSON) names the ports:
{"message": "ready", "listen": port, "metrics": port, …}.
"""

import os

# gRPC writes plain text to stderr, but every line there has to be JSON. Its errors are raised as exceptions as well.
# To see these lines, set for example GRPC_VERBOSITY=info; grpc reads it when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
