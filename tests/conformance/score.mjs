// What http-cache-tests asks, as JSON: one object with id, suite, name, kind and browser_only for each test, in the package's order.

import tests from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'

const asked = [...tests, surrogate].flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  suite: suite.id,
  name: test.name,
  kind: test.kind ?? 'required',
  browser_only: test.browser_only === true
})))

console.log(JSON.stringify(asked))
