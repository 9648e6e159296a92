"""Writers whose commits or reads fail in ways of their own; all else they do is real."""

from collections.abc import Mapping
from typing import Any

from k2.errors import StaleWriterError, UnavailableError
from k2.storage.progress import PartitionKey, Progress, Topics
from k2.storage.writer import Advance, Committed, TableWriter, WrittenFiles


class CommitFails(TableWriter):
    """Every commit fails before it begins."""

    def commit(self, *_: object) -> Committed:
        raise UnavailableError("the catalog does not answer")


class FirstCommitFails(TableWriter):
    """The first commit fails; `after` says whether it held nevertheless."""

    after = False
    failed = False

    def commit(
        self,
        written: WrittenFiles,
        advances: Mapping[PartitionKey, Advance],
        topics: Topics,
        batch: str,
    ) -> Committed:
        if self.failed:
            return super().commit(written, advances, topics, batch)
        self.failed = True
        if self.after:
            super().commit(written, advances, topics, batch)
        raise UnavailableError("no answer")


class FirstCommitUnanswered(FirstCommitFails):
    """The first commit holds, and its answer is lost."""

    after = True


class FirstCommitRefused(TableWriter):
    """Somebody else is first, once."""

    refused = False

    def commit(
        self,
        written: WrittenFiles,
        advances: Mapping[PartitionKey, Advance],
        topics: Topics,
        batch: str,
    ) -> Committed:
        if self.refused:
            return super().commit(written, advances, topics, batch)
        self.refused = True
        raise StaleWriterError("another writer was first, nothing was written")


class FirstCommitOvertaken(TableWriter):
    """The first commit is not answered, and somebody else commits past its end."""

    overtaken = False

    def commit(
        self,
        written: WrittenFiles,
        advances: Mapping[PartitionKey, Advance],
        topics: Topics,
        batch: str,
    ) -> Committed:
        if self.overtaken:
            return super().commit(written, advances, topics, batch)
        self.overtaken = True
        further = {
            key: Advance(one.expected_offset, one.next_offset + 1, one.state_path) for key, one in advances.items()
        }
        super().commit(written, further, topics, "somebody else's")
        raise UnavailableError("no answer")


class FirstProgressUnreadable(TableWriter):
    """The table's progress cannot be read the first time."""

    asked = False

    def progress(self) -> Progress:
        if not self.asked:
            self.asked = True
            raise UnavailableError("the catalog does not answer")
        return super().progress()


class SecondStateUnreadable(TableWriter):
    """The second state checkpoint asked for cannot be read the first time."""

    asked = 0

    def read_state(self, path: str) -> Any:
        self.asked += 1
        if self.asked == 2:
            raise UnavailableError("the warehouse does not answer")
        return super().read_state(path)
