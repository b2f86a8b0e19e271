"""The console: a page of ours in the browser, and the way in with a cookie. It asks REST and SSE as anybody does."""
