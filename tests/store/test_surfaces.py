from __future__ import annotations

from bot.clock import START
from bot.ports import Shown
from bot.store.timeline import Store

CARD = Shown("incident/A", "card", 1, 4, "C0INCIDENTS", "1.5", "shown", START, "ab")


async def test_a_record_is_kept_by_stream_kind_and_episode(store: Store) -> None:
    second = Shown("incident/A", "card", 2, attempted_at=None)
    for one in (Shown("incident/A", "card"), CARD, second, Shown("incident/B", "card")):
        await store.save(one)
    assert await store.shown("incident/A") == [CARD, second]


async def test_a_message_is_found_by_where_it_is(store: Store) -> None:
    await store.save(CARD)
    assert await store.posted_at("C0INCIDENTS", "1.5") == CARD
    assert await store.posted_at("C0INCIDENTS", "1.6") is None
