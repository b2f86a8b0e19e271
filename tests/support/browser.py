"""A real Chromium that a test drives: pages are loaded, asked and photographed by the DevTools protocol.

Whatever the console of a page says, and whatever its policy refuses, is kept: a test asks for ``faults`` at its
end. Nothing here knows which page it is.
"""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support import programs
from tests.support.processes import running

SECONDS = 20.0
POLL_SECONDS = 0.02
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_DEVTOOLS = r"DevTools listening on ws://127\.0\.0\.1:(\d+)(/\S+)"


class Page:
    """One tab. ``faults`` are errors in its console, exceptions and refusals by policy, in order."""

    def __init__(self, wire: ClientConnection) -> None:
        self.faults: list[str] = []
        self._wire = wire
        self._session: str | None = None
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> None:
        context = (await self.send("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
        target = await self.send("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._wire.send(json.dumps(message))
        async with asyncio.timeout(SECONDS):
            return await answer

    async def go(self, url: str) -> None:
        await self.send("Page.navigate", url=url)

    async def look(self, expression: str) -> Any:
        """What a JavaScript expression is in the page, as JSON."""
        found = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def until(self, expression: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression is true in the page; what it is then."""
        guarded = f"(() => {{ try {{ return {expression} }} catch {{ }} }})()"
        found: Any = None

        async def met() -> None:
            nonlocal found
            while not (found := await self.look(guarded)):  # noqa: ASYNC110  the page is in another process
                await asyncio.sleep(POLL_SECONDS)

        try:
            await asyncio.wait_for(met(), seconds)
        except TimeoutError:
            text = await self.look("document.body.innerText")
            raise AssertionError(
                f"never: {expression}; faults: {self.faults}; the page says:\n{text}"
            ) from None
        return found

    async def reads(self, text: str, within: str = "body") -> None:
        """Wait until a part of the page shows a text."""
        await self.until(
            f"document.querySelector({json.dumps(within)}).innerText.includes({json.dumps(text)})"
        )

    async def click(self, label: str, within: str = "body") -> None:
        """Press the first button or link that can be seen with that label, waited for if need be."""
        found = (
            f"[...document.querySelector({json.dumps(within)}).querySelectorAll('button, a')].find((each) => "
            f"each.checkVisibility() && !each.disabled && each.innerText.trim() === {json.dumps(label)})"
        )
        await self.until(f"!!{found}")
        await self.look(f"{found}.click()")

    async def type(self, selector: str, text: str) -> None:
        """Write into a field as a keyboard would."""
        await self.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.look(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.send("Input.insertText", text=text)

    async def key(self, name: str, code: int) -> None:
        """Press a key, such as ``Tab`` (9) or ``Enter`` (13)."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **text
            )

    async def dress(self, *, dark: bool = False, width: int = 1280, height: int = 800) -> None:
        """Change what the page sees of its user's screen."""
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", features=features)
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def photograph(self) -> bytes:
        """What can be seen, as a PNG."""
        shot = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def _read(self) -> None:
        async for message in self._wire:
            said = json.loads(message)
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if answer.done():
                    continue
                if "error" in said:
                    answer.set_exception(AssertionError(said["error"]))
                else:
                    answer.set_result(said["result"])
            else:
                self._note(said["method"], said["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.faults.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.faults.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """A browser; the address to drive it by."""
    flags = [*FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    with running([programs.chromium(), *flags, "about:blank"]) as child:
        said = child.wait_for_output(_DEVTOOLS)
        yield f"ws://127.0.0.1:{said[1]}{said[2]}"


@asynccontextmanager
async def visiting(browser: str) -> AsyncIterator[Page]:
    """A tab of somebody who has been nowhere yet: cookies and locks are shared with no other one."""
    async with connect(browser, max_size=None, proxy=None, compression=None) as wire:
        page = Page(wire)
        await page.open()
        try:
            yield page
        finally:
            await page.close()
