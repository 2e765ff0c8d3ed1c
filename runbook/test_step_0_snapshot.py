"""Step 0 of the guide: know what is broken, and hold a snapshot that is whole, before anything is touched."""

from __future__ import annotations

from dataclasses import replace

from requorum.cluster import quorum
from requorum.recovery import approval, plan, trial, trials, written
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import machines
from requorum.run import facts, history, marker
from requorum.run.marker import Phase
from requorum.run.run import Run, take_lock
from requorum.snapshots import anew, choice, offsite, salvage, sources
from requorum.troubleshoot import sudoers


class TestStep0Snapshot:
    """Step 0. Find out what is lost, and hold a snapshot that is proven whole.

    Nothing of the cluster is changed here: the only things written are the lock and this run's own directory.
    """

    def test_given_every_host_answers(self, run: Run) -> None:
        """Every machine takes commands as root, without a password; --gone exempts machines that no longer exist."""
        machines.every_host_answers(run)

    def test_given_sudo_allows_what_will_be_run(self, run: Run) -> None:
        """Every command of a recovery and its rollback, by sudo's own list; missing lines are printed."""
        sudoers.what_is_run_is_allowed(run)

    def test_when_the_cluster_is_locked(self, run: Run) -> None:
        """One operator at a time; a lock that your own dead run left is taken over, and what it left running ends.

        With --approved all must be as in that plan, or the run stops before the lock and names what is not."""
        approval.at_the_lock(run)
        take_lock(run)

    def test_given_no_other_run_is_under_way(self, run: Run, progress: Progress) -> None:
        """An unfinished run is carried on, as the configuration server's mark says, unless its cluster lived and is
        lost since; one that only others have a mark of, or wrote to before it was proven, is a question for people."""
        held = facts.marks(run)
        progress.runs = held.told
        if not run.carrying_on:  # a retry has looked, and set the data aside since
            progress.sources.living = written.living(run, held.marks, held.outlived, held.told)
        outlived = history.with_births(held.outlived, progress.sources.living.values())
        unfinished = marker.to_carry_on(held.marks, run.options.hosts, outlived)
        if unfinished and facts.is_still_under_way(run, unfinished):
            run.carry_on(unfinished)
            written.refuse_unproven(run, progress.sources.living)
            return
        run.name_after(held.newest)
        if run.inventory.members != run.inventory.old_members:
            marker.refuse_forgotten_old_members(held.marks, run.mark.members, outlived)

    def test_given_the_tools_are_there(self, run: Run, progress: Progress) -> None:
        """etcd and its tools on every new member, the vendor's commands where they will be run, clocks that agree."""
        paths = facts.root_paths(run, run.terms.everyone)
        progress.tools = facts.tools(run, paths)
        machines.every_host_is_equipped(run, paths)
        machines.new_members_have_one_etcd(run, progress.tools)
        if not run.carrying_on:
            machines.certificates_will_be_valid(run)

    def test_given_quorum_is_lost(self, run: Run, progress: Progress) -> None:
        """A majority is positively down, or up without a leader. Unknown is not lost, startable is not lost.

        A running cluster that is behind the newest manifest of its backups began anew: it is no cluster to keep."""
        if facts.new_configuration_is_installed(run):
            machines.no_old_member_leads_again(run)
            run.note("decided by the run that is carried on: its new configuration is installed")
            return
        progress.installed = facts.stand(run, [member.host for member in run.terms.old_members])
        verdict = progress.verdict = quorum.decide(facts.diagnose(run, progress.installed))
        for host, found in verdict.found().items():
            run.note(f"{host}: {found}")
        machines.new_members_are_no_cluster_already(run, verdict)
        stopping = run.mark.phase >= Phase.STOPPING
        began_anew = anew.of_the_running(run, verdict)
        rebuild = run.options.rebuild or began_anew is not None
        needed = (run.terms.configuration_server, *run.terms.member_hosts)
        refusal = quorum.refusal(verdict, rebuild, run.inventory.etcd.unit, stopping, needed)
        if refusal:
            raise refusal
        machines.no_other_etcd_is_this_clusters(run)
        machines.no_drop_in_starts_another(run)
        verdict = progress.verdict = anew.counted(run, verdict, began_anew)
        progress.sources.anew = began_anew.hosts if began_anew else ()
        if choice.is_handover(run, verdict):
            anew.refuse_open_cluster(run, verdict)
        run.note(f"verdict: {verdict.kind.value}")

    def test_given_the_new_members_reach_each_other(self, run: Run, progress: Progress) -> None:
        """A new cluster cannot form either where the network is what failed."""
        machines.new_members_reach_each_other(run, progress.verdict)

    def test_when_a_newer_backup_is_brought_from_off_site(self, run: Run, progress: Progress) -> None:
        """Where nobody named one, and `snapshot.directory` has none as new as lies off-site; it stays encrypted."""
        offsite.for_a_recovery(run, progress.verdict)

    def test_given_a_snapshot_is_whole(self, run: Run, progress: Progress) -> None:
        """--snapshot, the inventory's file, or the newest backup: size and SHA-256 are right, its age is allowed."""
        data, known = progress.sources, progress.installed
        found = data.source = choice.in_step_0(run, data, progress.verdict, progress.runs, known)
        if found:
            run.note(f"{found.path}, {found.bytes:,} bytes, taken {found.taken}, SHA-256 is right")
            if found.authentication and found.authentication.words:
                run.note(f"{found.path}: {found.authentication.words}")
        for line in sources.outlook(progress.sources):
            run.note(line)

    def test_given_there_is_room(self, run: Run, progress: Progress) -> None:
        """On each file system, for the most that this run puts there at any time; and etcd's quota for the data."""
        run.note(f"time: {progress.foresee(run).told}")
        machines.there_is_room(run, progress.bytes, progress.copies(run), trials.put_down(run))
        old = progress.keep_settings(run)
        if progress.verdict:  # else the new configuration is installed, and has the quota that it has
            machines.data_fits_its_quota(run, progress.bytes, progress.settings, old)

    def test_when_the_snapshot_is_copied_to_every_new_member(self, run: Run, progress: Progress) -> None:
        """The mark of this run is set; the snapshot is streamed into the run's own directory where nothing can take its
        place, else it waits until Step 1 has chosen. Of a run that is carried on, old logins that its trial left
        unpacked are removed first."""
        if run.carrying_on:
            run.do(trial.forget(run.terms, run.terms.everyone))
        written.note_living(run, progress.sources.living)
        progress.advance(run)
        _bring(run, progress)

    def test_then_etcd_can_read_every_copy(self, run: Run, progress: Progress) -> None:
        """`snapshot status`, by each new member's tools, where all copies, which are the same bytes, are there."""
        data = progress.sources
        if data.source and data.brought:
            revision = machines.every_copy_is_readable(run, progress.tools, data.source)
            data.source = replace(data.source, revision=revision)
            run.note(f"the snapshot is at revision {revision:,}")
        elif data.source:
            at = (
                "" if data.source.revision is None else f"; by its own pages it is at revision {data.source.revision:,}"
            )
            run.note(f"nothing to copy yet: disks may hold newer data, and Step 1 chooses{at}")

    def test_when_survivors_are_saved_where_login_works(self, run: Run, progress: Progress) -> None:
        """Without quorum a password cannot log in; a client certificate, or no authentication at all, can."""
        verdict, data = progress.verdict, progress.sources
        closed = facts.closed_without_quorum(run, verdict)
        saves = run.do(plan.save_from_survivors(run.terms, verdict, closed))
        newer = choice.after_saves(run, data, verdict, saves)
        if newer:
            run.note(f"{newer.path} on {newer.host} is newer: revision {newer.revision}")
            data.source = newer
            _bring(run, progress)
        if data.source:
            progress.advance(run, source=data.source)


def _bring(run: Run, progress: Progress) -> None:
    """To the new members, where what is held is what will be restored."""
    data = progress.sources
    if data.source and not salvage.may_replace(run, data, progress.verdict):
        run.do(plan.copy_snapshot(run.terms, data.source, facts.staged(run)))
        data.brought = data.source.sha256
