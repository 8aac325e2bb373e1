"""What an upload store promises, for both of them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import UploadInUse, UploadNotFound, UploadQuotaExceeded
from core.jobs import new_job_id
from core.uploads import Multipart, Upload, UploadState, UploadStore, new_upload_id
from core.uploads.memory import TELL_AGAIN_S
from tests.core.uploads.conftest import Desk

NO_QUOTA = 0
KEEP_S = 100.0


def given_upload(uploads: UploadStore, quota_bytes: int = NO_QUOTA, **changes: Any) -> Upload:
    now = datetime.now(UTC)
    facts = {"tenant": "one", "created_at": now, "kept_until": now + timedelta(seconds=KEEP_S), "max_bytes": 1000}
    upload = Upload(id=new_upload_id(), **(facts | changes))
    uploads.create(upload, KEEP_S, quota_bytes)
    return upload


def test_what_was_created_is_read_back(uploads: UploadStore) -> None:
    upload = given_upload(uploads, sha256="0" * 64, announced_bytes=7, multipart=Multipart(token="ü&", part_bytes=5))

    assert uploads.get(upload.id) == upload
    assert upload.state is UploadState.WAITING


def test_an_unknown_upload_is_not_found(uploads: UploadStore) -> None:
    nobody, job = new_upload_id(), new_job_id()
    for call in (
        lambda: uploads.get(nobody),
        lambda: uploads.receive(nobody, 1, NO_QUOTA),
        lambda: uploads.hold(nobody, job),
        lambda: uploads.withdraw(nobody),
    ):
        with pytest.raises(UploadNotFound):
            call()
    assert uploads.release(nobody, job) is None
    uploads.forget(nobody)


def test_a_file_that_has_come_is_noted(uploads: UploadStore) -> None:
    upload = given_upload(uploads)

    for _ in range(2):
        received = uploads.receive(upload.id, 12, NO_QUOTA)

    assert (received.state, received.bytes) == (UploadState.READY, 12)
    assert uploads.get(upload.id) == received


class TestQuota:
    def test_what_was_announced_counts_at_once_and_what_came_instead(self, uploads: UploadStore) -> None:
        upload = given_upload(uploads, announced_bytes=60)
        assert uploads.used_bytes("one") == 60

        uploads.receive(upload.id, 40, 100)

        assert uploads.used_bytes("one") == 40

    def test_nothing_is_kept_beyond_it(self, uploads: UploadStore) -> None:
        given_upload(uploads, 100, announced_bytes=60)

        with pytest.raises(UploadQuotaExceeded):
            given_upload(uploads, 100, announced_bytes=41)

        given_upload(uploads, 100, announced_bytes=40)
        assert uploads.used_bytes("one") == 100

    def test_a_file_larger_than_what_is_left_changes_nothing(self, uploads: UploadStore) -> None:
        given_upload(uploads, 100, announced_bytes=60)
        upload = given_upload(uploads, 100)

        with pytest.raises(UploadQuotaExceeded):
            uploads.receive(upload.id, 41, 100)

        assert uploads.get(upload.id) == upload
        assert uploads.used_bytes("one") == 60

    def test_a_smaller_file_is_taken_even_by_a_quota_that_was_lowered(self, uploads: UploadStore) -> None:
        upload = given_upload(uploads, announced_bytes=60)
        assert uploads.receive(upload.id, 50, 10).bytes == 50

    def test_tenants_do_not_share_it(self, uploads: UploadStore) -> None:
        given_upload(uploads, 100, announced_bytes=100)
        given_upload(uploads, 100, announced_bytes=100, tenant="two")

    def test_what_is_forgotten_counts_no_more(self, uploads: UploadStore) -> None:
        upload = given_upload(uploads, 100, announced_bytes=100)
        uploads.withdraw(upload.id)
        assert uploads.used_bytes("one") == 100

        for _ in range(2):
            uploads.forget(upload.id)

        assert uploads.used_bytes("one") == 0

    def test_twenty_at_once_do_not_get_past_it(self, uploads: UploadStore) -> None:
        def try_one(number: int) -> bool:
            try:
                given_upload(uploads, 100, announced_bytes=30)
            except UploadQuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(20) as pool:
            assert sum(pool.map(try_one, range(20))) == 3


class TestLeaving:
    def test_an_upload_nobody_used_leaves_when_its_time_is_over(self, desk: Desk) -> None:
        upload = given_upload(desk.uploads)
        desk.let_pass(KEEP_S - 5)
        assert desk.uploads.take_unused(10) == ()

        desk.let_pass(6)

        assert [left.id for left in desk.uploads.take_unused(10)] == [upload.id]
        with pytest.raises(UploadNotFound):
            desk.uploads.hold(upload.id, new_job_id())

    def test_what_was_not_forgotten_is_told_again(self, desk: Desk) -> None:
        upload = given_upload(desk.uploads)
        desk.let_pass(KEEP_S + 1)
        desk.uploads.take_unused(10)
        assert desk.uploads.take_unused(10) == ()

        desk.let_pass(TELL_AGAIN_S + 1)
        assert [left.id for left in desk.uploads.take_unused(10)] == [upload.id]

        desk.uploads.forget(upload.id)
        desk.let_pass(TELL_AGAIN_S + 1)
        assert desk.uploads.take_unused(10) == ()

    def test_a_round_takes_no_more_than_it_asked_for(self, desk: Desk) -> None:
        for _ in range(5):
            given_upload(desk.uploads)
        desk.let_pass(KEEP_S + 1)

        assert [len(desk.uploads.take_unused(2)) for _ in range(4)] == [2, 2, 1, 0]

    def test_a_held_upload_stays_whatever_its_age(self, desk: Desk) -> None:
        upload = given_upload(desk.uploads)
        desk.uploads.hold(upload.id, new_job_id())
        desk.let_pass(100 * KEEP_S)

        assert desk.uploads.take_unused(10) == ()
        with pytest.raises(UploadInUse):
            desk.uploads.withdraw(upload.id)

    def test_it_leaves_with_the_last_job_that_holds_it(self, uploads: UploadStore) -> None:
        upload, first, last = given_upload(uploads), new_job_id(), new_job_id()
        for job_id in (first, last, first):
            uploads.hold(upload.id, job_id)

        assert uploads.release(upload.id, first) is None
        assert uploads.release(upload.id, first) is None
        left = uploads.release(upload.id, last)

        assert left is not None
        assert (left.id, left.state) == (upload.id, UploadState.LEAVING)
        with pytest.raises(UploadNotFound):
            uploads.get(upload.id)

    def test_a_job_that_was_not_created_leaves_it_as_it_was(self, desk: Desk) -> None:
        upload, job_id = given_upload(desk.uploads), new_job_id()
        desk.uploads.hold(upload.id, job_id)
        desk.let_pass(KEEP_S + 1)

        for _ in range(2):
            desk.uploads.let_go(upload.id, job_id, KEEP_S)

        desk.let_pass(KEEP_S - 1)
        assert desk.uploads.take_doubtful_holds(10.0, 10) == ()
        assert desk.uploads.take_unused(10) == ()
        assert desk.uploads.get(upload.id) == upload
        desk.let_pass(2)
        assert [left.id for left in desk.uploads.take_unused(10)] == [upload.id]

    def test_nor_does_it_take_it_from_the_job_that_holds_it(self, desk: Desk) -> None:
        upload, holder, refused = given_upload(desk.uploads), new_job_id(), new_job_id()
        desk.uploads.hold(upload.id, holder)
        desk.uploads.hold(upload.id, refused)

        desk.uploads.let_go(upload.id, refused, KEEP_S)

        desk.let_pass(10 * KEEP_S)
        assert desk.uploads.take_unused(10) == ()
        left = desk.uploads.release(upload.id, holder)
        assert left is not None
        desk.uploads.forget(upload.id)
        desk.uploads.let_go(upload.id, holder, KEEP_S)
        assert desk.uploads.take_unused(10) == ()

    def test_its_owner_may_send_it_away_before(self, uploads: UploadStore) -> None:
        upload = given_upload(uploads)

        assert uploads.withdraw(upload.id).id == upload.id
        with pytest.raises(UploadNotFound):
            uploads.withdraw(upload.id)


class TestDoubtfulHolds:
    def test_each_old_hold_is_told_once(self, desk: Desk) -> None:
        upload, job_id = given_upload(desk.uploads), new_job_id()
        desk.uploads.hold(upload.id, job_id)
        assert desk.uploads.take_doubtful_holds(10.0, 10) == ()
        desk.let_pass(11)

        assert desk.uploads.take_doubtful_holds(10.0, 10) == ((upload.id, job_id),)
        assert desk.uploads.take_doubtful_holds(10.0, 10) == ()

    def test_a_released_hold_is_not_told(self, desk: Desk) -> None:
        upload, job_id = given_upload(desk.uploads), new_job_id()
        desk.uploads.hold(upload.id, job_id)
        desk.uploads.release(upload.id, job_id)
        desk.let_pass(11)

        assert desk.uploads.take_doubtful_holds(10.0, 10) == ()
