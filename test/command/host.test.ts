/** Both hosts against one list of expectations: what src/host/host.ts promises. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { build } from 'esbuild-wasm';
import { COMMAND, HOST, publicDirectory, ROOT } from '../support/exporter.ts';
import type { Call } from '../support/hostCalls.ts';
import { capture, succeed, until } from '../support/process.ts';
import { lackingRoot } from '../support/programs.ts';
import { mount, NOBODY } from '../support/root.ts';

type Expectation = readonly [name: Call, args: readonly unknown[], result: unknown];

const ON_NODE = HOST.startsWith('Node.js');

const directory = publicDirectory();
const at = (name: string) => join(directory, name);
let command: readonly string[] = [];

/** The program of hostCalls.ts takes the place of the exporter, which is the last word of its command. */
before(async () => {
  const host = ON_NODE ? 'node' : 'quickjs';
  const outfile = at(ON_NODE ? 'calls.cjs' : 'calls.js');
  const contents = `import { host } from './src/host/${host}.ts';
    import { main } from './test/support/hostCalls.ts';
    main(host);`;
  await build({
    stdin: { contents, resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    outfile,
    platform: ON_NODE ? 'node' : 'neutral',
    format: ON_NODE ? 'cjs' : 'esm',
    target: 'es2022',
  });
  command = [...COMMAND.slice(0, -1), outfile];
});

interface Setting {
  readonly env?: Readonly<Record<string, string>>;
  /** Words in front of the command. */
  readonly by?: readonly string[];
}

/** Makes the calls in one process, and compares. */
async function expect(expectations: readonly Expectation[], { env = {}, by = [] }: Setting = {}) {
  const calls = JSON.stringify(expectations.map(([name, args]) => [name, ...args]));
  const all = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', ...env };
  const output = await succeed([...by, ...command, calls], { env: all });
  const results: unknown[] = JSON.parse(output);
  const titled = (result: (index: number) => unknown) =>
    expectations.map(([name, args], index) => [name, args, result(index)]);
  assert.deepEqual(
    titled((index) => results[index]),
    titled((index) => expectations[index]?.[2]),
  );
}

const shell = (script: string) => ['sh', '-c', script];
const ended = (end: unknown, stdout = '', stderr = '') => ({ stdout, stderr, end });

describe(`${HOST}: run`, () => {
  it('returns what the command printed, and how it ended', () =>
    expect([
      ['run', [shell('printf "a\\0\\377b"; echo c >&2; exit 3')], ended(3, 'a\0\xffb', 'c\n')],
      ['run', [shell('exit 0')], ended(0)],
      ['run', [shell('exit 255')], ended(255)],
      ...['HUP', 'INT', 'ABRT', 'KILL', 'SEGV', 'PIPE', 'TERM', 'XCPU', 'SYS'].map(
        (name): Expectation => ['run', [shell(`kill -${name} $$`)], ended(`SIG${name}`)],
      ),
      ['run', [['cat']], ended(0)],
      ['run', [['printf', '%s|', 'a b', '', '-x', '*', 'ü']], ended(0, 'a b||-x|*|\xc3\xbc|')],
    ]));

  it('passes the environment on, with additions', () =>
    expect(
      [
        ['run', [shell('echo $MARK $ADDED'), { env: { ADDED: 'b' } }], ended(0, 'a b\n')],
        ['run', [shell('echo $MARK'), { env: { MARK: 'b' } }], ended(0, 'b\n')],
        ['run', [shell('echo $MARK'), { env: {} }], ended(0, 'a\n')],
      ],
      { env: { MARK: 'a' } },
    ));

  it('starts the command in a process group of its own, without input or ignored signals', () =>
    expect([
      ['run', [shell('[ $(ps -o pgid= -p $$) = $$ ] && echo yes')], ended(0, 'yes\n')],
      ['run', [['grep', 'SigIgn', '/proc/self/status']], ended(0, 'SigIgn:\t0000000000000000\n')],
      ['run', [['readlink', '/proc/self/fd/0']], ended(0, '/dev/null\n')],
    ]));

  it('kills a command that exceeds its time, and returns what it printed until then', () =>
    expect([
      ['run', [shell('echo a; exec sleep 1000'), { timeout: 0.5 }], ended('timeout', 'a\n')],
      ['run', [shell('exec >&- 2>&-; exec sleep 1000'), { timeout: 0.5 }], ended('timeout')],
      ['run', [shell('echo a; sleep 1000 & exit 0'), { timeout: 0.5 }], ended('timeout', 'a\n')],
      ['run', [shell('kill -STOP $$'), { timeout: 0.5 }], ended('timeout')],
    ]));

  it('kills what the command has left behind', async () => {
    const left = at('left');
    const script = `sleep 1000 >/dev/null 2>&1 & echo $! >${left}`;
    await expect([['run', [shell(script)], ended(0)]]);
    const pid = readFileSync(left, 'utf8').trim();
    // The signal has been sent; the kernel may still be at it. A zombie stays where process 1 collects none.
    await until('it has ended', async () => {
      const { status, stdout } = await capture(['ps', '-o', 'stat=', '-p', pid]);
      return status !== 0 || stdout.startsWith('Z');
    });
  });

  it('reads no more than the limit', () =>
    expect([
      ['runLong', [shell('head -c 1000 /dev/zero'), 1000], { stdout: 1000, stderr: 0, end: 0 }],
      ['runLong', [shell('head -c 1001 /dev/zero'), 1000], { stdout: 1000, stderr: 0, end: 'too much' }],
      ['runLong', [['yes'], 3_000_000], { stdout: 3_000_000, stderr: 0, end: 'too much' }],
      [
        'runLong',
        [shell('head -c 2000000 /dev/zero; head -c 1000000 /dev/zero >&2'), 3_000_000],
        { stdout: 2_000_000, stderr: 65_536, end: 0 },
      ],
      [
        'runLong',
        [shell('head -c 1 /dev/zero; head -c 1000 /dev/zero >&2'), 1000],
        { stdout: 1, stderr: 1000, end: 'too much' },
      ],
      ['runLong', [shell('exec yes >&2'), 3_000_000], { stdout: 0, stderr: 65_536, end: 'too much' }],
    ]));

  it('searches the PATH as execvp(3) does', async () => {
    for (const name of ['empty', 'refused', 'found', 'broken']) mkdirSync(at(name));
    for (const [path, text, mode] of [
      ['refused/tool', '#!/bin/sh\necho refused', 0o644],
      ['found/tool', '#!/bin/sh\necho found', 0o755],
      ['found/plain', 'echo no interpreter', 0o755],
      ['broken/tool', '#!/no/interpreter\n', 0o755],
    ] as const) {
      writeFileSync(at(path), text);
      chmodSync(at(path), mode);
    }
    mkdirSync(at('refused/directory'));
    const path = (...names: string[]) => ({
      env: { PATH: [...names.map(at), '/usr/bin', '/bin'].join(':') },
    });
    await expect([['find', ['tool'], 'missing']], path('empty'));
    await expect([['find', ['tool'], 'found\n']], path('none', 'refused', 'found'));
    await expect([['find', ['plain'], 'no interpreter\n']], path('found'));
    await expect([['find', ['tool'], 'EACCES']], path('refused'));
    await expect([['find', ['directory'], 'EACCES']], path('refused'));
    await expect([['find', ['tool'], 'missing']], path('broken'));
    await expect([['find', ['tool'], 'found\n']], {
      env: { PATH: ':/usr/bin' },
      by: ['env', '-C', at('found')],
    });
    await expect([['run', [['echo', 'a']], ended(0, 'a\n')]], { by: ['env', '-u', 'PATH'] });
  });
});

describe(`${HOST}: files`, () => {
  it('are read in pieces', async () => {
    writeFileSync(at('text'), 'abcdefg');
    await expect([
      ['read', [at('text'), 3], ['abc', 'def', 'g', '']],
      ['read', [at('text'), 7], ['abcdefg', '']],
      ['read', [at('no'), 3], 'no such file or directory'],
      ['read', [directory, 3], 'is a directory'],
      ['read', [at('text/no'), 3], 'not a directory'],
      ['read', ['/proc/self/mem', 3], 'input/output error'],
      ['read', [at('x'.repeat(256)), 3], 'file name too long'],
    ]);
  });

  it('are read up to 64 KiB at once', async () => {
    for (const size of [0, 1, 65_535, 65_536, 65_537, 200_000]) {
      writeFileSync(at('small'), 'x'.repeat(size));
      const length = Math.min(size, 65_536);
      await expect([['readSmallFile', [at('small')], [length, 'x'.repeat(Math.min(length, 20))]]]);
    }
    writeFileSync(at('small'), Buffer.from([0, 0x80, 0xc3, 0xbc, 0xff]));
    await expect([
      ['readSmallFile', [at('small')], [5, '\0\x80\xc3\xbc\xff']],
      ['readSmallFile', ['/proc/sys/kernel/ostype'], [6, 'Linux\n']],
      // The kernel gives this one in many pieces.
      ['readSmallFile', ['/proc/kallsyms'], [65_536, readFileSync('/proc/kallsyms', 'latin1').slice(0, 20)]],
      ['readSmallFile', [at('no')], 'no such file or directory'],
      ['readSmallFile', [directory], 'is a directory'],
    ]);
  });

  it('are written from their start, and not cut short', async () => {
    writeFileSync(at('written'), 'x'.repeat(20));
    await expect([
      ['write', [at('written'), 'a\0b', '', 'ü€😀\n'], 'written'],
      ['write', [at('no'), 'a'], 'no such file or directory'],
      ['write', [directory, 'a'], 'is a directory'],
    ]);
    assert.equal(readFileSync(at('written'), 'utf8'), `a\0bü€😀\n${'x'.repeat(7)}`);
    await expect([['writeLong', [at('written'), 3], 'written']]);
    assert.equal(readFileSync(at('written'), 'utf8'), '€3456789\n\0'.repeat(300_000));
  });

  it('hold U+FFFD for half a character', async () => {
    writeFileSync(at('halves'), '');
    await expect([['write', [at('halves'), 'a\ud83d', '\ude00b', '\ude00\ud83d'], 'written']]);
    assert.equal(readFileSync(at('halves'), 'utf8'), 'a\ufffd\ufffdb\ufffd\ufffd');
  });

  it('give the reason why they cannot be written', () =>
    expect([
      ['write', ['/dev/full', 'a'], 'no space left on device'],
      ['writeLong', ['/dev/full', 1], 'no space left on device'],
    ]));

  it('give an error if the disk becomes full', { skip: lackingRoot() }, async () => {
    const disk = await mount('-t', 'tmpfs', '-o', 'size=1M', 'tmpfs');
    writeFileSync(join(disk, 'file'), '');
    await expect([['writeLong', [join(disk, 'file'), 3], 'no space left on device']]);
  });

  it('are listed, removed and linked', async () => {
    mkdirSync(at('list'));
    for (const name of ['a', '.b', 'ü€', 'a b\nc']) writeFileSync(at(`list/${name}`), '');
    symlinkSync('../no where', at('list/link'));
    await expect([
      ['list', [at('list')], ['.b', 'a', 'a b\nc', 'link', 'ü€']],
      ['readLink', [at('list/link')], '../no where'],
      ['remove', [at('list/link')], 'nothing'],
      ['remove', [at('list/ü€')], 'nothing'],
      ['remove', [at('list/a b\nc')], 'nothing'],
      ['remove', [at('list/no')], 'no such file or directory'],
      ['list', [at('list')], ['.b', 'a']],
      ['list', [at('no')], 'no such file or directory'],
      ['list', [at('list/a')], 'not a directory'],
      ['readLink', [at('no')], 'no such file or directory'],
    ]);
  });

  it('may have names that are not UTF-8', async () => {
    mkdirSync(at('bytes'));
    for (const name of ['a\xff', '\xc3']) writeFileSync(Buffer.from(at(`bytes/${name}`), 'latin1'), '');
    await expect([['list', [at('bytes')], ['a\ufffd', '\ufffd']]]);
  });

  it('are inspected', async () => {
    mkdirSync(at('kinds'));
    writeFileSync(at('kinds/file'), 'abc');
    truncateSync(at('kinds/file'), 5_000_000_000);
    chmodSync(at('kinds/file'), 0o6751);
    utimesSync(at('kinds/file'), 1_700_000_000, 1_700_000_000.123);
    linkSync(at('kinds/file'), at('kinds/same'));
    mkdirSync(at('kinds/directory'));
    chmodSync(at('kinds/directory'), 0o1777);
    symlinkSync('file', at('kinds/link'));
    await succeed(['mkfifo', '--mode=600', at('kinds/fifo')]);
    const status = (name: string, kind: string, mode: number) => {
      const path = at(`kinds/${name}`);
      const { uid, gid, size, dev, ino, mtimeMs } = statSync(path, { bigint: false });
      const modified = Math.floor(mtimeMs);
      return [
        'inspect',
        [path],
        { kind, mode, uid, gid, size, identity: `${dev}:${ino}`, modified },
      ] as const;
    };
    await expect([
      status('file', 'file', 0o6751),
      status('same', 'file', 0o6751),
      status('directory', 'directory', 0o1777),
      status('fifo', 'other', 0o600),
      ['inspect', [at('kinds/no')], 'nothing'],
      ['inspect', [at('kinds/file/no')], 'not a directory'],
      ['inspect', [at('x'.repeat(256))], 'file name too long'],
    ]);
    const calls = JSON.stringify([['inspect', at('kinds/link')]]);
    const [link] = JSON.parse(await succeed([...command, calls]));
    assert.deepEqual(
      { kind: link.kind, mode: link.mode, size: link.size },
      { kind: 'link', mode: 0o777, size: 4 },
    );
  });

  it('are reached through an open directory', async () => {
    mkdirSync(at('opened'));
    writeFileSync(at('opened/a'), '');
    await expect([
      ['openDirectory', [at('opened')], [at('opened'), 1]],
      ['openDirectory', [at('no')], 'no such file or directory'],
    ]);
  });

  it('include new directories, which only their owner may enter', async () => {
    await expect([['makeDirectory', [at('made')], 'nothing']], {
      by: ['sh', '-c', 'umask 0; exec "$@"', 'sh'],
    });
    assert.equal(statSync(at('made')).mode & 0o7777, 0o700);
    await expect([
      ['makeDirectory', [at('made')], 'the file exists'],
      ['makeDirectory', [at('no/made')], 'no such file or directory'],
    ]);
  });

  it('cannot be used by another account', { skip: lackingRoot() }, async () => {
    writeFileSync(at('secret'), '');
    chmodSync(at('secret'), 0o600);
    const by = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
    await expect(
      [
        ['readSmallFile', [at('secret')], 'permission denied'],
        ['write', [at('secret'), 'a'], 'permission denied'],
        ['remove', [at('secret')], 'permission denied'],
        ['makeDirectory', [at('new')], 'permission denied'],
        ['list', ['/root'], 'permission denied'],
        ['inspect', ['/root/x'], 'permission denied'],
        ['actAs', [0], false],
      ],
      { by },
    );
  });
});

describe(`${HOST}: this process`, () => {
  it('knows itself', () =>
    expect(
      [
        [
          'about',
          [],
          {
            name: HOST.replace(/ .*/, ''),
            args: 1,
            mark: 'ü',
            uid: process.getuid?.(),
            now: true,
            elapsed: true,
          },
        ],
      ],
      { env: { MARK: 'ü' } },
    ));

  it('knows its effective user ID', { skip: lackingRoot() }, async () => {
    const calls = JSON.stringify([['about']]);
    const by = ['setpriv', `--euid=${NOBODY}`];
    const [about] = JSON.parse(await succeed([...by, ...command, calls]));
    assert.equal(about.uid, NOBODY);
  });

  it('tells a terminal from a pipe', async () => {
    await expect([['isTerminal', [2], false]]);
    const calls = JSON.stringify([['isTerminal', 2]]);
    const quoted = [...command, calls].map((word) => `'${word}'`).join(' ');
    const { stdout } = await capture(['script', '--quiet', '--return', '--command', quoted, '/dev/null']);
    assert.equal(stdout.trim(), '[true]');
  });

  it('gets an error if the reader of its standard output is gone', async () => {
    const calls = JSON.stringify([['about']]);
    const script = '{ sleep 0.2; "$@"; echo $? >&2; } | true';
    const { stderr } = await capture(['sh', '-c', script, 'sh', ...command, calls]);
    assert.doesNotMatch(stderr, /^141$/m);
    assert.match(stderr, /EPIPE/);
  });
});

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'Europe/London',
  'Europe/Moscow',
  'America/New_York',
  'America/Sao_Paulo',
  'America/St_Johns',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'Asia/Kathmandu',
  'Africa/Cairo',
  ':Europe/Berlin',
  'CET-1CEST,M3.5.0,M10.5.0/3',
  ':CET-1CEST,M3.5.0,M10.5.0/3',
  'EST5EDT',
  'EST5',
  '<-03>3',
  '<+0545>-5:45',
  'NoSuch/Zone',
  '',
];
/** In Unix time: around clock changes of Berlin, New York, Sao Paulo, Lord Howe and Apia, the epoch, and 2038. */
const CHANGES = [
  -43_200, 0, 86_400, 954_637_200, 972_781_200, 1_325_239_200, 1_540_695_600, 1_541_300_400, 1_554_562_800,
  1_552_201_200, 1_583_650_800, 1_700_000_000, 1_711_846_800, 1_729_990_800, 1_730_613_600, 2_147_483_647,
  2_200_000_000,
];
const TIMES = CHANGES.flatMap((change) => [-7200, -3601, -1, 0, 1, 3600].map((step) => change + step));

describe(`${HOST}: the offset of local time`, () => {
  for (const zone of ZONES) {
    it(`is that of date(1) in ${zone || 'an empty TZ'}, around ${CHANGES.length} changes`, async () => {
      // TZ described by a string asks date(1) itself, a process each.
      const times = /\d/.test(zone) ? TIMES.slice(-6) : TIMES;
      const input = times.map((time) => `@${time}\n`).join('');
      const dates = await succeed(['date', '--file=-', '+%:::z'], { input, env: { TZ: zone } });
      const offsets = dates
        .trim()
        .split('\n')
        .map((text) => {
          const [hours = 0, minutes = 0] = text.slice(1).split(':').map(Number);
          return Number(`${text[0]}1`) * (hours * 3600 + minutes * 60);
        });
      await expect([['utcOffset', [times.map((time) => time * 1000)], offsets]], { env: { TZ: zone } });
    });
  }
});
