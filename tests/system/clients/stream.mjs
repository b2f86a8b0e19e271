// The stock EventSource of npm on one URL: each message and what becomes of the stream, as JSON lines.
// Usage: node stream.mjs URL. It ends when EventSource gives up.

import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
const print = (line) => console.log(JSON.stringify(line));

source.onopen = () => print({ open: true });
source.onmessage = ({ lastEventId, data }) => print({ id: lastEventId, data: JSON.parse(data) });
source.onerror = ({ code }) => print({ code: code ?? null, closed: source.readyState === EventSource.CLOSED });
