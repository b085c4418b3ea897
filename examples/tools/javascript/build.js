// Makes tool.wasm of tool.js.

import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const { component } = await componentize(await readFile('tool.js', 'utf8'), {
  sourceName: 'tool.js',
  witPath: fileURLToPath(new URL('../wit', import.meta.url)),
  worldName: 'pure-tool',
  // It needs the clock and its output, and nothing else: no network.
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile('tool.wasm', component);
