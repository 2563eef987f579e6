/**
 * Prints a command that runs the program on QuickJS, for SSH_SESSIONS_TEST_COMMAND: that of Debian 13 with
 * its own C library, so that it runs on this machine even if that has no such package. Needs what guest.ts needs.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { image } from './guest.ts';

const [layer = '', base = ''] = await image('trixie', ['quickjs']);
const multiarch = readdirSync(join(base, 'usr/lib')).find((name) => /-linux-gnu/.test(name)) ?? '';
const libraries = join(base, 'usr/lib', multiarch);
const loader = readdirSync(libraries).find((name) => /^ld-linux.*\.so/.test(name)) ?? '';
const qjs = join(layer, 'usr/bin/qjs');
const command = [join(libraries, loader), '--library-path', libraries, qjs, '--std', '-m'];
console.log([...command, join(process.cwd(), 'dist/quickjs/main.js')].join(' '));
process.exit();
