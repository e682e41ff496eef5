"""The tasks that people type, under `fab` and `fanrun` alike."""

from __future__ import annotations

from invoke.collection import Collection

from fanrun.tasks.beginning import init, sample
from fanrun.tasks.clean import clean
from fanrun.tasks.doctor import doctor
from fanrun.tasks.fleet import bake, deploy, down, up
from fanrun.tasks.hosts import drain, execute, ssh, status
from fanrun.tasks.logs import logs
from fanrun.tasks.run import retry, run, verify
from fanrun.tasks.runs import runs
from fanrun.tasks.serve import serve

GROUPS = {
    "Fleet": (up, status, deploy, drain, clean, down, bake),
    "Runs": (run, retry, runs, verify, logs, sample, init),
    "Service": (serve,),
    "Hosts": (ssh, execute),
    "This machine": (doctor,),
}
"""The tasks by what they are about, in the order in which the help shows them."""
TASKS = Collection(*(task for group in GROUPS.values() for task in group))
