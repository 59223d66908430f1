"""Upkeep beside the work: nobody waits for it, and all of it gets done."""

from threading import Event, get_ident

from gpu_worker.background import BackgroundKeeper

PATIENCE_S = 30.0


class Slow:
    """A keeper that works until it may stop; counts what it was asked."""

    def __init__(self) -> None:
        self.begun, self.may_stop = Event(), Event()
        self.threads: list[int] = []

    def after_batch(self) -> None:
        raise AssertionError("there is always time in the background")

    def when_idle(self, is_over) -> None:
        self.threads.append(get_ident())
        self.begun.set()
        assert self.may_stop.wait(PATIENCE_S)


def test_the_work_goes_on_while_a_merge_is_under_way():
    slow = Slow()
    background = BackgroundKeeper(slow)
    background.after_batch()
    assert slow.begun.wait(PATIENCE_S)
    background.after_batch()  # returns, although the first is not done
    background.when_idle(lambda: True)
    assert len(slow.threads) == 1
    assert background.is_busy
    slow.may_stop.set()
    background.finish()
    assert not background.is_busy
    # What was asked for meanwhile is done once more, by the same thread.
    assert len(slow.threads) == 2
    assert len({*slow.threads, get_ident()}) == 2


def test_finishing_what_was_never_asked_for_does_not_wait():
    BackgroundKeeper(Slow()).finish()


def test_finishing_ends_when_the_shift_does():
    slow = Slow()
    background = BackgroundKeeper(slow)
    background.after_batch()
    background.finish(lambda: True)
    slow.may_stop.set()
    background.finish()


def test_upkeep_that_fails_for_good_stops_nobody(caplog):
    class Broken(Slow):
        def when_idle(self, is_over) -> None:
            self.threads.append(get_ident())
            raise MemoryError

    broken = Broken()
    background = BackgroundKeeper(broken)
    background.after_batch()
    background.finish()
    background.after_batch()
    background.finish()
    assert len(broken.threads) == 1
    assert [record.message for record in caplog.records] == ["upkeep ended"]
