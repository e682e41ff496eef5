"""The images that Fanrun builds on the client: what they are called there, which of them stay, and how they go.

All that is built has a tag with the fleet's id in it for as long as it is kept:

    fanrun/process:NAME.ID              what was built last
    fanrun/process:NAME.ID.IMAGE        each build that is kept, IMAGE being the first digits of its own id
    fanrun/process:NAME.ID.cache-IMAGE  what the classic builder needs to build the next one quickly

So nothing is ever without a name, and is removed by its name alone: what somebody else has by another name stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from fanrun.fleet.errors import ToolMissing
from fanrun.fleet.store import Folder
from provision.registry import build
from provision.registry.background import Cancellation
from provision.registry.names import REPOSITORY

PROCESS, SERVICE = "fanrun/process", "fanrun/service"
WITHOUT_FLEET = f"{PROCESS}:_try"
"""The image that was built without a fleet; no fleet's name has such a letter."""
STEP = re.compile(r"Step \d+/\d+ : (\w+)")
LAYER = re.compile(r" ---> ([0-9a-f]{12})")


def own_tag(folder: Folder, repository: str) -> str:
    """Return the tag of the fleet's image that was built last; one from before fleets had ids has its name alone."""
    return f"{repository}:{'.'.join(filter(None, (folder.name, folder.id)))}"


def pushed_tag(folder: Folder, image_id: str) -> str:
    """Return what an image is pushed as, without the address of the registry."""
    return f"{REPOSITORY}:{'-'.join(filter(None, (folder.id, short(image_id))))}"


def short(image_id: str) -> str:
    """Return the 12 digits of an image's id that docker shows."""
    return image_id.removeprefix("sha256:")[:12]


def build_process(root: Path, folder: Folder, cancellation: Cancellation | None = None) -> str:
    """Build process.py's image for this fleet; return its id.  Raises what build.build does."""
    return _build(root, own_tag(folder, PROCESS), "", cancellation)


def build_without_fleet(root: Path) -> str:
    """Build process.py's image for a try on this machine; return its id.  The one before it goes."""
    image_id = _build(root, WITHOUT_FLEET, "", None)
    kept = (f"{WITHOUT_FLEET}.{short(image_id)}", f"{WITHOUT_FLEET}.cache-")
    _remove(name for name in _all_tags() if name.startswith(f"{WITHOUT_FLEET}.") and not name.startswith(kept))
    return image_id


def build_service(root: Path, folder: Folder) -> str:
    """Build the services' image for this fleet, on that of process.py; return its tag.  Raises as build.build does."""
    build_process(root, folder)
    tag = own_tag(folder, SERVICE)
    _build(root, tag, own_tag(folder, PROCESS), None)
    return tag


def _build(root: Path, tag: str, process: str, cancellation: Cancellation | None) -> str:
    """Build an image, and give a tag to all that the build leaves in docker."""
    image_id, lines = "", list[str]()
    try:
        image_id = build.build(root, tag, log=lines.append, process=process, cancellation=cancellation)
        build.docker_run("tag", image_id, f"{tag}.{short(image_id)}")
    finally:
        caches = {f"{tag}.cache-{layer}": layer for layer in last_layers(lines, whole=bool(image_id))}
        for name, layer in caches.items():
            build.docker_run("tag", layer, name)
    _remove(name for name in _all_tags() if name.startswith(f"{tag}.cache-") and name not in caches)
    return image_id


def last_layers(lines: Sequence[str], *, whole: bool) -> list[str]:
    """Return the last image of each stage of a build, as the classic builder printed them; BuildKit prints none.

    That of the last stage is left out of a build that is `whole`: it is what was built.
    """
    stages = list[str]()
    for line in lines:
        if (step := STEP.match(line)) and step[1] == "FROM":
            stages.append("")
        elif stages and (layer := LAYER.fullmatch(line)):
            stages[-1] = layer[1]
    return [layer for layer in (stages[:-1] if whole else stages) if layer]


def remove_old(folder: Folder, kept: Collection[str]) -> None:
    """Remove what the fleet built here, but for the images with these ids, and the tags of pushes that were killed.

    The fleet's lock has to be held: a push that goes on has such a tag.  What was built last stays as well, and so does
    what can't be removed: it is tried again the next time.
    """
    tags = tags_of(folder.name, folder.ids)
    latest = [own_tag(folder, repository) for repository in (PROCESS, SERVICE)]
    stay = {short(each) for each in kept} | {tags[name] for name in latest if name in tags}
    builds = [name for name in tags if name.startswith(tuple(f"{each}." for each in latest)) and ".cache-" not in name]
    pushed = [name for name in tags if f"/{REPOSITORY}:" in name]
    _remove([*pushed, *(name for name in builds if tags[name] not in stay)])


def remove_all(tags: Iterable[str]) -> list[str]:
    """Remove these tags; return those that stay, as a container uses what they name."""
    names = list(tags)
    _remove(names)
    return [name for name in _all_tags() if name in names]


def tags_of(name: str, ids: Collection[str]) -> dict[str, str]:
    """Return the client's tags of the fleet of this name with one of these ids: {tag: 12 digits of the image's id}."""
    if not ids:
        return {}
    either = "|".join(ids)
    mine = re.compile(rf"({PROCESS}|{SERVICE}):{name}\.({either})(\..+)?|127\.0\.0\.1:\d+/{REPOSITORY}:({either})-.+")
    return {tag: image_id for tag, image_id in _all_tags().items() if mine.fullmatch(tag)}


def _all_tags() -> dict[str, str]:
    """Return what the client's docker holds, {tag: 12 digits of the image's id}; nothing where there is no docker."""
    try:
        listed = build.docker_run("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    except ToolMissing:
        return {}
    return dict(line.split(" ", 1) for line in listed.stdout.splitlines()) if listed.returncode == 0 else {}


def _remove(tags: Iterable[str]) -> None:
    """Remove tags, and the images that have no other; those that containers use stay."""
    if names := list(tags):
        build.docker_run("rmi", *names, timeout=600)
