"""Sends an image, or a URL, to the API: python service/loadtest/client.py IMAGE|URL [-o OUT]."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if not __package__:  # as python service/loadtest/client.py
    sys.path[0] = str(Path(__file__).resolve().parents[2])

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core would write lines of its own; `explain` says what is wrong

try:
    import grpc
except ModuleNotFoundError:
    sys.exit("service/loadtest/client.py: gRPC is not installed here: run `script/setup --dev`, then .venv/bin/python")

from service.common.balancing import options
from service.common.settings import path
from service.loadtest.access import Access, AccessError, add_flags, explain, read_access
from service.protos import imagescaler_pb2 as pb
from service.protos import imagescaler_pb2_grpc as pb_grpc

OPTIONS = options(pb.DESCRIPTOR.services_by_name["ImageScaler"].full_name)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "service/loadtest/client.py", description="Send an image to the API and keep what comes back."
    )
    parser.add_argument("image", metavar="IMAGE|URL", help="a file, or an http or https URL that the API fetches")
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=path, help="where to (default: IMAGE's name, .out before its ending)"
    )
    parser.add_argument("--server", metavar="HOST:PORT", default="localhost:50051", help="default: localhost:50051")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=30.0, help="default: 30")
    add_flags(parser)
    return parser.parse_args()


def main() -> int:
    """Send, save, and tell in a line what was done; returns the exit code."""
    flags = parse()
    url = flags.image.startswith(("http://", "https://"))
    name = Path(flags.image.rpartition("/")[2].partition("?")[0] or "image") if url else Path(flags.image)
    output = flags.output or name.with_suffix(f".out{name.suffix}")
    try:
        content = b"" if url else name.read_bytes()
        access = read_access(flags, flags.server)
        source = pb.ImageSource(http_uri=flags.image) if url else None
        reply, trailers = send(flags, pb.Image(content=content, source=source), access)
        output.write_bytes(reply.content)
    except AccessError as error:
        print(f"service/loadtest/client.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"service/loadtest/client.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except grpc.RpcError as error:
        told = error.details() or ""
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            told = explain(access, flags.server, told)
        print(f"service/loadtest/client.py: {error.code().name}: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    done = {key: trailers.get(key, "?") for key in ("x-source-size", "x-target-size", "x-decision", "server-timing")}
    print(f"{output}: {' -> '.join(list(done.values())[:2])}, {done['x-decision']} ({done['server-timing']})")
    return 0


def send(flags: argparse.Namespace, image: pb.Image, access: Access) -> tuple[pb.ScaleImageReply, dict[str, str]]:
    """Call the API; returns its reply and trailers, raises grpc.RpcError."""
    metadata = (("authorization", f"Bearer {access.token}"),) if access.token else ()
    settings = [*OPTIONS, *access.options(flags.server)]
    if access.credentials:
        channel = grpc.secure_channel(flags.server, access.credentials, options=settings)
    else:
        channel = grpc.insecure_channel(flags.server, options=settings)
    with channel:
        stub = pb_grpc.ImageScalerStub(channel)
        reply, call = stub.ScaleImage.with_call(
            pb.ScaleImageRequest(image=image), timeout=flags.timeout, metadata=metadata, wait_for_ready=False
        )
        return reply, {key: str(value) for key, value in call.trailing_metadata()}


if __name__ == "__main__":
    sys.exit(main())
