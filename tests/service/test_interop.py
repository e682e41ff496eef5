"""Clients that know nothing of this code: one made from the contract's text alone, and one that has only reflection."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.service.conftest import picture
from tests.service.servers import ROOT, Farm, Served

CONTRACT = """
syntax = "proto3";
package imagescaler;
service ImageScaler { rpc ScaleImage(ScaleImageRequest) returns (ScaleImageReply) {} }
message ScaleImageRequest { Image image = 1; }
message ScaleImageReply { bytes content = 1; }
message Image { bytes content = 1; ImageSource source = 2; }
message ImageSource { string http_uri = 1; }
"""
CLIENT = """
import sys, grpc, contract_pb2 as pb, contract_pb2_grpc as rpc
stub = rpc.ImageScalerStub(grpc.insecure_channel(sys.argv[1]))
image = pb.Image(content=open("in.jpg", "rb").read(), source=pb.ImageSource(http_uri="http://ignored.test/"))
open("out.jpg", "wb").write(stub.ScaleImage(pb.ScaleImageRequest(image=image), timeout=10).content)
try:
    stub.ScaleImage(pb.ScaleImageRequest(), timeout=10)
except grpc.RpcError as error:
    print(error.code().name)
"""


@pytest.fixture(scope="module")
def pair(shared: Farm) -> tuple[Served, Served]:
    """An API and its processor."""
    return shared.pair("--size", "80x60")


def run(argv: list[str], folder: Path) -> str:
    """Run a program in a folder; returns what it printed."""
    done = subprocess.run([sys.executable, *argv], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_client_made_from_the_contract_works(pair: tuple[Served, Served], tmp_path: Path) -> None:
    (tmp_path / "contract.proto").write_text(CONTRACT)
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "in.jpg").write_bytes(picture())
    run(["-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", "contract.proto"], tmp_path)
    assert run(["client.py", f"127.0.0.1:{pair[0].ready['listen']}"], tmp_path) == "INVALID_ARGUMENT\n"
    assert (tmp_path / "out.jpg").read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("which", "service", "method"),
    [(0, "imagescaler.ImageScaler", "ScaleImage"), (1, "imageprocessor.ImageProcessor", "Process")],
)
def test_reflection_is_enough_to_call(pair: tuple[Served, Served], which: int, service: str, method: str) -> None:
    """As grpcurl does: ask what there is, build the messages from that, call."""
    with grpc.insecure_channel(f"127.0.0.1:{pair[which].ready['listen']}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        names = set(database.get_services())
        assert names == {service, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        found = descriptor_pool.DescriptorPool(database).FindServiceByName(service).FindMethodByName(method)
        request, reply = (message_factory.GetMessageClass(kind) for kind in (found.input_type, found.output_type))
        message = request()
        if which == 0:
            message.image.content = picture()  # type: ignore[attr-defined]
        else:
            message.image = picture()  # type: ignore[attr-defined]
        call = channel.unary_unary(f"/{service}/{method}", request.SerializeToString, reply.FromString)
        assert call(message, timeout=10).ByteSize() > 100


def test_the_generated_code_is_that_of_the_protos(tmp_path: Path) -> None:
    done = subprocess.run([ROOT / "script/protos", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = sorted((tmp_path / "service" / "protos").iterdir())
    assert len(made) == 6
    for path in made:
        committed = ROOT / "service" / "protos" / path.name
        assert committed.read_text() == path.read_text(), f"{path.name} is out of date: run script/protos"
