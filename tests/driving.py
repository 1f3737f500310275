"""Someone who takes part in a study with a real browser, from the invitation to the last page."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import BrowserContext, Error, Request, Response
from playwright.async_api import TimeoutError as NothingHappened

from motionfocal.study.questions import PRESETS

REASONS = [reason.id for reason in PRESETS["motif"][0].reasons]
PATIENCE = 180_000  # milliseconds: the machine may be busy

_UNLOCKED, _NOT_LOADED = ".question.current .sides:enabled", ".loading button:visible"


@dataclass(frozen=True)
class Said:
    """An answer: a side, and why."""

    choice: str
    reasons: tuple[str, ...]


class Driver:
    """A person at a page. ``decide`` is asked for the answer to a task by the uid that stands in the page.

    Like a person, whoever meets an address that does not answer opens the invitation again, and presses "Try again"
    where clips did not come. A vote that is not acknowledged is left to the page, which promises to send it again.
    """

    def __init__(
        self, link: str, decide: Callable[[str], Awaitable[Said]], *, keyboard: bool, album: Path | None = None
    ):
        self.link, self._decide, self._keyboard, self._album = link, decide, keyboard, album
        self.sent: dict[str, Said] = {}  # by the impression's uid
        self.acknowledged: list[str] = []  # the votes' own uids
        self.unanswered = 0  # requests that carried a vote, and failed
        self.troubles: list[str] = []
        self.ending = ""  # heading of the last page

    async def take_part(self, context: BrowserContext) -> None:
        """All that there is to do, until a page comes on which there is nothing."""
        self._page = page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("response", self._note_response)
        page.on("requestfailed", self._note_failure)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        await self._arrive()
        while True:
            if await page.locator("#task").count():
                await self._work()
            elif await page.locator("main form.go button").count():
                await self._go(self._agree)
            else:
                self.ending = await page.locator("main h1").inner_text()
                await self._photograph("done")
                return

    def _note_response(self, response: Response) -> None:
        if _carries_a_vote(response.request) and response.status == 200:
            self.acknowledged.append(json.loads(response.request.post_data or "")["uid"])

    def _note_failure(self, request: Request) -> None:
        self.unanswered += _carries_a_vote(request)

    async def _arrive(self) -> None:
        while True:
            try:
                await self._page.goto(self.link)
                return
            except NothingHappened:
                raise
            except Error:  # no server there
                await asyncio.sleep(0.3)

    async def _go(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do what leads to the next page, which is asked for again if it does not come."""
        try:
            async with self._page.expect_navigation():
                await act()
        except NothingHappened:
            raise
        except Error:
            await self._arrive()

    async def _agree(self) -> None:
        """The one button of a page of text."""
        button = self._page.locator("main form.go button")
        if not self._keyboard:
            await button.click()
            return
        while not await button.evaluate("element => element === document.activeElement"):
            await self._page.keyboard.press("Tab")
        await self._page.keyboard.press("Enter")

    async def _work(self) -> None:
        """The task on the page."""
        page = self._page
        if not await self._unlocked():
            await self._arrive()
            return
        uid = await page.locator("#task").get_attribute("data-uid") or ""
        is_training = (await page.title()).startswith("Practice")
        said = self.sent[uid] = await self._decide(uid)
        await self._answer(said)
        await self._photograph("training" if is_training else "task")
        if is_training:
            await self._submit()
            await page.locator("#feedback").wait_for()
            await self._photograph("feedback")
            await self._go(self._read_on)
        else:
            await self._go(self._submit)

    async def _unlocked(self) -> bool:
        """Watch until the answer opens; whether it did: a page whose script was lost with the server never does."""
        unlocked, lost = self._page.locator(_UNLOCKED), self._page.locator(_NOT_LOADED)
        while True:
            try:
                await unlocked.or_(lost).first.wait_for(timeout=PATIENCE / 2)
            except NothingHappened:
                return False
            if await unlocked.count():
                return True
            await lost.click()
            await asyncio.sleep(0.3)

    async def _answer(self, said: Said) -> None:
        if self._keyboard:
            for key in ("1" if said.choice == "left" else "2", *(str(3 + REASONS.index(r)) for r in said.reasons)):
                await self._page.keyboard.press(key)
            return
        await self._page.locator(f".current label:has(input[value={said.choice}])").click()
        for reason in said.reasons:
            await self._page.locator(f'.current label:has(input[value="{reason}"])').click()

    async def _submit(self) -> None:
        await self._press("#submit")

    async def _read_on(self) -> None:
        await self._press("#feedback button")

    async def _press(self, button: str) -> None:
        if self._keyboard:
            await self._page.keyboard.press("Enter")
        else:
            await self._page.locator(button).click()

    async def _photograph(self, name: str) -> None:
        if self._album:
            await self._page.screenshot(path=self._album / f"{name}.png")


def _carries_a_vote(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith("/votes")
