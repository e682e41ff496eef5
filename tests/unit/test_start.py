"""How `fab` starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.fab_world import FAB, ROOT


@pytest.mark.parametrize("writes", [True, False])
def test_compiled_modules_are_kept_where_python_may_write_them(tmp_path: Path, writes: bool) -> None:
    """Otherwise all modules are compiled at each start, which takes 0.1 s."""
    for name in ("fanrun", "provision", "service"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "fabfile.py", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {} if writes else {"PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([FAB, "--list"], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert (tmp_path / "fanrun" / "fanout" / "__pycache__").exists() == writes
