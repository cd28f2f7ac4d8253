/**
 * Owns: what a visitor gets when nothing is known: a page for documents and frames, a failed request for everything else.
 * It loads nothing, since there is nothing to load it from.
 */

const PAGE = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>This page cannot be reached</title>
<style>:root{color-scheme:light dark}body{font:1.1em/1.6 system-ui;max-width:34em;margin:15vh auto;padding:1em}</style>
<main><h1>This page cannot be reached</h1><p>The site does not answer, and this browser has no verified copy of it.<p><a href="">Try again</a> or <a href="/">start page</a></main>`

/** @param {Request} request */
export function offline({destination}) {
  if (!/document|frame/.test(destination)) return Response.error()
  return new Response(PAGE, {status: 503, headers: {'content-type': 'text/html', 'cache-control': 'no-store'}})
}
