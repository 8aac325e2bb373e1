"""What parent and child tell each other through shared memory."""

import multiprocessing
import time

from worker.flags import SharedFlags


def test_a_render_is_silent_from_its_last_sign_of_life_on() -> None:
    flags = SharedFlags()
    assert flags.silent_s() == 0.0
    flags.sign_of_life()
    time.sleep(0.05)
    assert flags.silent_s() >= 0.05
    flags.sign_of_life()
    assert flags.silent_s() < 0.05
    flags.rest()
    assert flags.silent_s() == 0.0


def test_the_parent_sees_what_its_forked_child_does() -> None:
    flags = SharedFlags()
    flags.sign_of_life()  # left by a child that was killed
    child = multiprocessing.get_context("fork").Process(target=flags.enter_child)
    child.start()
    child.join()
    assert flags.child() == child.pid
    assert flags.silent_s() == 0.0
