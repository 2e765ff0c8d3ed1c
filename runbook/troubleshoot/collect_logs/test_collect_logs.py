"""Everything that people will ask for, from all hosts, in one archive with a page. It changes nothing."""

from __future__ import annotations

from requorum.diagnosis import examination
from requorum.diagnosis.logs import collection as collecting
from requorum.diagnosis.logs import page
from requorum.run.run import Run
from runbook.troubleshoot.collect_logs.conftest import Collection


class TestCollectLogs:
    """Collect logs. Journals, configuration, certificates' dates, disks and etcd's own word, from all hosts at once.

    A host that does not answer is noted. Passwords, tokens and private keys are taken out on the way.
    """

    def test_given_somebody_answers(self, run: Run, collection: Collection) -> None:
        """Some hosts may be silent; all of them say more of this machine than of the cluster."""
        collection.failed, collection.clocks = examination.reach(run)
        collecting.somebody_answers(run, collection.failed)

    def test_when_logs_are_collected(self, run: Run, collection: Collection) -> None:
        """Streamed through this machine, at most a said number of lines and bytes of each."""
        hosts = [host for host in run.terms.everyone if host not in collection.failed]
        since = collecting.since(run.options.since)
        items = collecting.items(run.terms, hosts, since, collection.place)
        for host, found in run.fleet.collect(items).items():
            if isinstance(found, Exception):
                collection.failed[host] = str(found)
            else:
                collection.files += found
        run.touched += hosts
        for host, why in collection.failed.items():
            run.note(f"{host}: {why}")

    def test_when_they_are_packed(self, run: Run, collection: Collection) -> None:
        """One archive, with a page that orders the members' lines by time and marks the known bad signs."""
        about = collecting.about(run, collection.files, collection.failed, collection.clocks, collection.place)
        book = page.read(collection.place, run.terms.etcd_hosts)
        text = page.html(book, about)
        for path in (collection.place / "index.html", run.journal.directory / "logs.html"):
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8", errors="replace")
        archive = run.journal.directory / "logs.tar.gz"
        size = page.pack(collection.place, archive, f"logs-{run.inventory.cluster}")
        run.note(f"{archive}, {size:,} bytes")
        for (sign, host), count in book.counts.items():
            run.note(f"{host}: {sign}, {count.times:,} times, last at {count.end[:19]}")
        run.last_words.append(f"Collected: {archive}; to be read: logs.html beside it.")

    def test_then_the_archive_is_whole(self, run: Run, collection: Collection) -> None:
        """Read back: every host that answered has its files in it, for their owner only."""
        collecting.the_archive_is_whole(run, collection.files, collection.place)
