"""Files that change under a running bot: sound ones are taken, others leave the last good ones in force."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.config import Config, load
from bot.errors import ReadOnly
from bot.reload import Watch, beyond, stamp
from tests.flow.corridor import Quiet
from tests.test_config import BOOK, SITE, Files, files  # noqa: F401  the fixture of the files' own tests

RULE = "require: [{role: sre}, {role: owner}]"


class Taken:
    """A running bot as the watch sees it."""

    def __init__(self, files: Files) -> None:  # noqa: F811  the fixture's name
        self.files, self.log, self.taken = files.site(), Quiet(), list[Config]()
        self.watch = Watch(files.settings, load(files.settings), self.take, ManualClock(), self.log)

    async def take(self, config: Config) -> None:
        self.taken.append(config)

    async def edited(self, *changes: tuple[str, str], **books: str) -> None:
        self.files.site(*changes, **books)
        os.utime(self.files.folder / "lastgood.yaml", ns=(1, len(self.taken) + 7))
        await self.looked()

    async def looked(self) -> None:
        """Look twice: what changed is read when it lay still."""
        await self.watch.look()
        await self.watch.look()


@pytest.fixture
def running(files: Files) -> Taken:  # noqa: F811  the fixture
    return Taken(files)


async def test_a_sound_change_of_policy_is_taken(running: Taken) -> None:
    await running.edited((RULE, "require: [{role: sre}]"))
    (config,) = running.taken
    assert [place.role for place in config.catalogue.policy.rules[0].require] == ["sre"]
    assert running.watch.trouble == ""


async def test_nothing_is_read_while_nothing_changes(running: Taken) -> None:
    for _ in range(3):
        await running.watch.look()
    assert running.taken == []
    assert running.log.lines == []


async def test_a_mistake_leaves_the_last_good_files_in_force_and_says_where_it_is(running: Taken) -> None:
    await running.edited((RULE, "requires: [{role: sre}]"))
    assert running.taken == []
    assert running.watch.trouble.startswith("1 problem in the files. lastgood.yaml:14: ")
    assert [event for event, _ in running.log.lines] == ["config.kept"]
    await running.edited()
    assert running.watch.trouble == ""
    assert running.taken == []  # the same files as at the beginning


async def test_a_file_that_is_away_leaves_the_last_good_files_in_force(running: Taken) -> None:
    (running.files.folder / "lastgood.yaml").unlink()
    await running.looked()
    assert running.taken == []
    assert "lastgood.yaml" in running.watch.trouble


async def test_a_new_runbook_is_taken(running: Taken) -> None:
    extra = BOOK.replace("runbook: fraud", "runbook: latency").replace("title:", "priority: 3\ntitle:")
    await running.edited(fraud=BOOK, latency=extra)
    assert [book.runbook for book in running.taken[0].catalogue.runbooks] == ["fraud", "latency"]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("C0INCIDENTS", "C0OTHER", "slack"),
        ('route: {adapter: memory, versions: ["41", "42"]}', 'route: {adapter: memory, versions: ["41", "42", "43"]}', "models.fraud-scorer.environments.prod.targets"),
        ("http://127.0.0.1:8000/metrics", "http://127.0.0.1:8001/metrics", "metrics"),
    ],
)  # fmt: skip
async def test_what_is_connected_once_is_only_taken_at_a_start(
    running: Taken, before: str, after: str, named: str
) -> None:
    await running.edited((before, after))
    assert running.taken == []
    assert running.watch.trouble == f"{named} changed, and that is only taken at a start."


def test_equal_files_need_no_restart(files: Files) -> None:  # noqa: F811  the fixture
    file = load(files.site().settings).file
    assert beyond(file, file) == []


def test_a_stamp_tells_files_of_one_name_and_size_apart(files: Files, tmp_path: Path) -> None:  # noqa: F811  the fixture
    before: Any = stamp(files.write(SITE, fraud=BOOK).settings)
    other = tmp_path / "other"
    other.write_text(SITE.replace("C0INCIDENTS", "C1INCIDENTS"))
    os.utime(other, ns=(before[0][1], before[0][1]))
    other.replace(files.folder / "lastgood.yaml")
    assert stamp(files.settings) != before


async def test_a_file_that_is_still_being_written_is_not_read(running: Taken) -> None:
    file = running.files.folder / "lastgood.yaml"
    whole = file.read_text()
    half = whole.replace(RULE, "require: [{role: sre}]")  # sound by itself, and not what the writer is about to say
    for size in (len(half) - 2, len(half) - 1):
        file.write_text(half[:size])
        await running.watch.look()
    file.write_text(whole)
    await running.looked()
    assert running.taken == []
    assert running.log.lines == []


async def test_a_change_between_the_start_and_the_first_look_is_taken(running: Taken) -> None:
    running.files.site((RULE, "require: [{role: sre}]"))
    late = Watch(running.files.settings, running.watch._config, running.take, ManualClock(), running.log)
    await late.look()
    await late.look()
    assert len(running.taken) == 1


async def test_a_file_of_the_same_size_that_claims_its_old_time_is_read(running: Taken) -> None:
    await running.looked()
    file = running.files.folder / "lastgood.yaml"
    before = file.stat()
    with file.open("r+") as open_:
        text = open_.read()
        open_.seek(0)
        open_.write(text.replace(RULE, "require: [{role: owner}, {role: sre}]"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    await running.looked()
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert len(running.taken) == 1


async def test_files_that_cannot_be_put_in_force_are_tried_again_and_said_once(running: Taken) -> None:
    tries = 0

    async def take(config: Config) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ReadOnly("The timeline cannot be written.")
        await running.take(config)

    watch = Watch(running.files.settings, running.watch._config, take, ManualClock(), running.log)
    running.files.site((RULE, "require: [{role: sre}]"))
    for _ in range(3):
        await watch.look()
    assert "The timeline cannot be written." in watch.trouble
    assert [event for event, _ in running.log.lines] == ["config.kept"]
    await watch.look()
    assert (tries, len(running.taken), watch.trouble) == (3, 1, "")
