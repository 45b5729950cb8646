"""A FastAPI route that does nothing, under the gateway's own server: what the framework costs alone.

`python -m tests.bench.bare_app PORT`
"""

import sys

import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/nothing")
async def nothing_posted(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@app.get("/nothing")
async def nothing() -> dict[str, str]:
    return {"state": "open"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", loop="uvloop", http="httptools")
