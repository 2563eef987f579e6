import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Host, RunResult } from '../src/host/host.ts';
import { host } from '../src/host/node.ts';
import { type ConnectionList, connectionReader } from '../src/sshd/connections.ts';
import { scratch } from './support/exporter.ts';

interface FakeProcess {
  readonly pid: number;
  readonly parent?: number;
  /** The four user ids: real, effective, saved, of the file system. */
  readonly uids?: readonly [number, number, number, number];
  /** Likewise; by default the same numbers. */
  readonly gids?: readonly [number, number, number, number];
  readonly name?: string;
  readonly title: string | Buffer;
  /** Process ids in this and the inner namespaces. */
  readonly namespaces?: readonly number[];
  readonly groups?: readonly number[];
}

const ROOT = [0, 0, 0, 0] as const;
const PI = [1000, 1000, 1000, 1000] as const;
const LISTENER: FakeProcess = { pid: 10, title: 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups' };

/** A made-up /proc with a listener and a few processes; each is root's child of the listener unless it says more. */
function proc(context: TestContext, ...processes: FakeProcess[]): string {
  const root = scratch(context);
  for (const {
    pid,
    parent = 10,
    uids = ROOT,
    name = 'sshd',
    title,
    namespaces = [pid],
    gids = uids,
    groups = [0],
  } of [LISTENER, ...processes]) {
    const directory = join(root, String(pid));
    mkdirSync(directory);
    writeFileSync(join(directory, 'comm'), `${name}\n`);
    const status = [
      `Name:\t${name}`,
      'Umask:\t0022',
      `Pid:\t${pid}`,
      `PPid:\t${parent}`,
      `Uid:\t${uids.join('\t')}`,
      `Gid:\t${gids.join('\t')}`,
      `Groups:\t${groups.join(' ')} `,
      `NSpid:\t${namespaces.join('\t')}`,
      '',
    ];
    writeFileSync(join(directory, 'status'), status.join('\n'));
    writeFileSync(join(directory, 'cmdline'), Buffer.concat([Buffer.from(title), Buffer.alloc(20)]));
  }
  writeFileSync(join(root, 'version'), 'Linux');
  mkdirSync(join(root, 'self'));
  return root;
}

/** The monitor of a connection and the process that serves its user. */
function connection(
  title: string | Buffer,
  uids: FakeProcess['uids'] = PI,
  name = 'sshd',
  account = 'pi',
): FakeProcess[] {
  return [
    { pid: 20, title: `${name}: ${account} [priv]`, name },
    { pid: 21, parent: 20, uids, title, name },
  ];
}

const readConnections = (on: Host, root: string) => connectionReader(on, root)();

/** Only users and kinds. */
function brief({ connections, unreadable }: ConnectionList) {
  return { connections: connections.map(({ user, kind }) => ({ user, kind })), unreadable };
}

const read = (root: string) => brief(readConnections(host, root));

describe('a connection', () => {
  const titles = [
    ['sshd: pi@pts/2', 'pi', 'terminal'],
    ['sshd: pi@pts/0,pts/3', 'pi', 'terminal'],
    ['sshd: pi@tty1', 'pi', 'terminal'],
    ['sshd: pi@notty', 'pi', 'notty'],
    ['sshd: pi', 'pi', 'forward'],
    ['sshd-session: pi@pts/2', 'pi', 'terminal'],
    ['sshd-session: pi@notty', 'pi', 'notty'],
    ['sshd-session: pi', 'pi', 'forward'],
    ['sshd: pi@example.org@pts/2', 'pi@example.org', 'terminal'],
    ['sshd: pi@example.org', 'pi@example.org', 'forward'],
    ['sshd: a, b [c]@notty', 'a, b [c]', 'notty'],
    ['sshd: x [priv]@pts/0', 'x [priv]', 'terminal'],
    ['sshd: jörg@notty', 'jörg', 'notty'],
    ['sshd-session: j\\303\\266rg@pts/0', 'jörg', 'terminal'],
    ['sshd: DOMAIN\\\\pi\\t\\377@notty', 'DOMAIN\\pi\uFFFD\uFFFD', 'notty'],
    [Buffer.from([...Buffer.from('sshd: j'), 0xff, ...Buffer.from('\n@notty')]), 'j\uFFFD\uFFFD', 'notty'],
  ] as const;
  for (const [title, user, kind] of titles) {
    it(`is understood from "${title}"`, (context) => {
      const found = read(proc(context, ...connection(title)));
      assert.deepEqual(found, { connections: [{ user, kind }], unreadable: [] });
    });
  }

  it('is served by sshd-session from OpenSSH 9.8 on', (context) => {
    const { connections } = read(proc(context, ...connection('sshd-session: pi', PI, 'sshd-session')));
    assert.deepEqual(connections, [{ user: 'pi', kind: 'forward' }]);
  });

  it('of root has one process, and a monitor only from OpenSSH 9.8 on', (context) => {
    const root = { pid: 21, title: 'sshd-session: root@pts/0' };
    const monitor = { pid: 20, title: 'sshd-session: root [priv]' };
    for (const tree of [[root], [monitor, { ...root, parent: 20 }]]) {
      const { connections } = read(proc(context, ...tree));
      assert.deepEqual(connections, [{ user: 'root', kind: 'terminal' }]);
    }
  });

  it('of root is counted once while sshd prepares the shell', (context) => {
    const root = { pid: 20, title: 'sshd: root@notty' };
    const { connections } = read(proc(context, root, { ...root, pid: 21, parent: 20 }));
    assert.deepEqual(connections, [{ user: 'root', kind: 'notty' }]);
  });

  it('needs no listener (sshd -i, or a listener that was restarted)', (context) => {
    const [monitor, served] = connection('sshd: pi@notty');
    assert.ok(monitor && served);
    const root = { pid: 30, parent: 1, title: 'sshd: root@notty' };
    const { connections } = read(proc(context, { ...monitor, parent: 1 }, served, root));
    assert.deepEqual(connections, [
      { user: 'pi', kind: 'notty' },
      { user: 'root', kind: 'notty' },
    ]);
  });

  it('is counted once with the second process of internal-sftp', (context) => {
    const inner = { pid: 22, parent: 21, uids: PI, title: 'sshd: pi@internal-sftp' };
    const innerOfRoot = { pid: 31, parent: 30, title: 'sshd: root@internal-sftp' };
    const root = { pid: 30, title: 'sshd: root@notty' };
    const tree = proc(context, ...connection('sshd: pi@notty'), inner, root, innerOfRoot);
    assert.deepEqual(read(tree), {
      connections: [
        { user: 'pi', kind: 'notty' },
        { user: 'root', kind: 'notty' },
      ],
      unreadable: [],
    });
  });

  it('has its terminals in order, its processes and the ID of its user', (context) => {
    const root = { pid: 30, title: 'sshd: root@pts/1' };
    const tree = proc(context, ...connection('sshd: pi@pts/3,pts/0'), root);
    assert.deepEqual(readConnections(host, tree).connections, [
      {
        user: 'pi',
        userInW: 'pi',
        kind: 'terminal',
        terminals: ['pts/3', 'pts/0'],
        pid: 21,
        monitor: 20,
        uid: 1000,
      },
      {
        user: 'root',
        userInW: 'root',
        kind: 'terminal',
        terminals: ['pts/1'],
        pid: 30,
        monitor: undefined,
        uid: 0,
      },
    ]);
  });

  it('has the name that w prints, which has no more than 32 bytes', (context) => {
    const [found] = readConnections(
      host,
      proc(context, ...connection(`sshd: ${'ä'.repeat(40)}`)),
    ).connections;
    assert.equal(found?.user, 'ä'.repeat(40));
    assert.equal(found?.userInW, 'ä'.repeat(16));
  });

  const cut = [
    ['sshd: johnsmith@pts/2,pts/3,pt', 'terminal', ['pts/2', 'pts/3']],
    ['sshd: johnsmith@pts/2,', 'terminal', ['pts/2']],
    ['sshd: johnsmith@pts/', 'terminal', []],
    ['sshd: johnsmith@', 'terminal', []],
    ['sshd: johnsmith@not', 'notty', []],
  ] as const;
  for (const [title, kind, terminals] of cut) {
    it(`is understood from "${title}", which sshd had no room to complete`, (context) => {
      const tree = proc(context, ...connection(title, PI, 'sshd', 'johnsmith'));
      const { connections, unreadable } = readConnections(host, tree);
      const found = connections.map((each) => [each.user, each.kind, each.terminals]);
      assert.deepEqual([found, unreadable], [[['johnsmith', kind, terminals]], []]);
    });
  }

  it('keeps the name of an account that looks like a cut terminal', (context) => {
    const tree = proc(context, ...connection('sshd: joe@pt', PI, 'sshd', 'joe@pt'));
    assert.deepEqual(read(tree).connections, [{ user: 'joe@pt', kind: 'forward' }]);
  });

  it('can have an account whose name is one letter', (context) => {
    const tree = proc(context, ...connection('sshd: a@notty', PI, 'sshd', 'a'));
    assert.deepEqual(read(tree), { connections: [{ user: 'a', kind: 'notty' }], unreadable: [] });
  });

  it('is found although the title of its monitor was cut', (context) => {
    const [monitor, served] = connection('sshd: pi@notty');
    assert.ok(monitor && served);
    const tree = proc(context, { ...monitor, title: 'sshd: pi [pr' }, served);
    assert.deepEqual(read(tree), { connections: [{ user: 'pi', kind: 'notty' }], unreadable: [] });
  });
});

describe('a connection whose monitor was killed', () => {
  const orphan: FakeProcess = { pid: 21, parent: 1, uids: PI, title: 'sshd: pi@pts/2' };

  /** A host where getent prints that. */
  function hostWith(accounts: string, end: RunResult['end'] = 0): Host {
    const run = (command: readonly string[]) => {
      assert.deepEqual(command, ['getent', 'passwd', '1000']);
      return { stdout: [Buffer.from(accounts)], stderr: Buffer.alloc(0), end };
    };
    return { ...host, run };
  }
  const found = (context: TestContext, on: Host, ...processes: FakeProcess[]) =>
    brief(readConnections(on, proc(context, ...processes)));
  const nothing = { connections: [], unreadable: [] };

  it('counts if its process belongs to the account that it names', (context) => {
    const on = hostWith('pi:x:1000:100::/home/pi:/bin/bash\n');
    assert.deepEqual(found(context, on, orphan).connections, [{ user: 'pi', kind: 'terminal' }]);
    const ofReaper = { ...orphan, parent: 5 };
    const reaper = { pid: 5, parent: 1, name: 'init', title: 'init' };
    assert.deepEqual(found(context, on, reaper, ofReaper).connections, [{ user: 'pi', kind: 'terminal' }]);
  });

  it('does not count if it names another account', (context) => {
    assert.deepEqual(found(context, hostWith('ana:x:1000:100::/:/bin/sh\n'), orphan), nothing);
    assert.deepEqual(found(context, hostWith('pi:x:1001:100::/:/bin/sh\n'), orphan), nothing);
    assert.deepEqual(found(context, hostWith('', 2), orphan), nothing);
  });

  it('does not count for root: only a setuid program looks like that', (context) => {
    const never = { ...host, run: () => assert.fail() };
    const setuid = { ...orphan, uids: ROOT, gids: PI, title: 'sshd: root@pts/9' };
    assert.deepEqual(found(context, never, setuid), nothing);
  });

  it('is reported if accounts cannot be looked up', (context) => {
    for (const end of ['missing', 'timeout', 1] as const) {
      const { connections, unreadable } = found(context, hostWith('', end), orphan);
      assert.deepEqual([connections, unreadable], [[], [`pi (getent passwd: ${end})`]]);
    }
  });

  it('does not count if a user started it, and its account is not looked up', (context) => {
    const never = { ...host, run: () => assert.fail() };
    const shell = { pid: 5, parent: 1, uids: PI, name: 'bash', title: 'bash' };
    assert.deepEqual(found(context, never, shell, { ...orphan, parent: 5 }), nothing);
  });

  it('does not count for being a child of the listener: if sshd is process 1, every orphan is', (context) => {
    const listener = { pid: 1, parent: 0, title: LISTENER.title };
    assert.deepEqual(found(context, hostWith('ana:x:1000:100::/:/bin/sh\n'), listener, orphan), nothing);
  });
});

describe('the processes of sshd', () => {
  it('give connections in the order of their IDs, in whatever order /proc lists them', (context) => {
    const root = proc(context, ...[20, 21, 22].map((pid) => ({ pid, title: 'sshd: root@notty' })));
    for (const order of [
      ['22', '20', '21'],
      ['20', '21', '22'],
      ['21', '22', '20'],
    ]) {
      const { connections } = readConnections({ ...host, list: () => order }, root);
      assert.deepEqual(
        connections.map(({ pid }) => pid),
        [20, 21, 22],
      );
    }
  });

  it('are the only old ones that are read a second time', (context) => {
    const root = proc(context, ...connection('sshd: pi'), { pid: 30, name: 'sleep', title: 'sleep' });
    const paths: string[] = [];
    const readSmallFile = (path: string) => {
      paths.push(path.slice(root.length));
      return host.readSmallFile(path);
    };
    const read = connectionReader({ ...host, readSmallFile }, root);
    assert.equal(read().connections.length, 1);
    assert.equal(new Set(paths).size, paths.length, 'no file is read twice');
    assert.deepEqual(
      paths.filter((path) => path.startsWith('/30/')),
      ['/30/comm'],
    );
    paths.length = 0;
    writeFileSync(join(root, '21/cmdline'), 'sshd: pi@pts/0\0');
    assert.deepEqual(
      read().connections.map(({ terminals }) => terminals),
      [['pts/0']],
    );
    assert.ok(!paths.includes('/30/comm'));
  });

  for (const code of ['EACCES', 'EPERM', 'EIO', 'EMFILE']) {
    it(`are not mistaken for ended if reading them fails with ${code}`, (context) => {
      const root = proc(context, ...connection('sshd: pi'));
      for (const name of ['comm', 'status', 'cmdline']) {
        const readSmallFile = (path: string) => {
          if (path.endsWith(`21/${name}`)) throw Object.assign(new Error(code), { code });
          return host.readSmallFile(path);
        };
        assert.throws(() => readConnections({ ...host, readSmallFile }, root), /^Error: cannot read .*21\//);
      }
    });
  }

  it('can have an account with any number of groups', (context) => {
    for (let count = 0; count < 200; count++) {
      const groups = Array.from({ length: count }, (_, index) => 1000 + index);
      const [monitor, serving] = connection('sshd: pi').map((each) => ({ ...each, groups }));
      assert.ok(monitor && serving);
      assert.equal(read(proc(context, monitor, serving)).connections.length, 1, `${count} groups`);
      const contained = [monitor, { ...serving, namespaces: [21, 3] }];
      assert.equal(
        read(proc(context, ...contained)).connections.length,
        0,
        `${count} groups, in a container`,
      );
    }
  });

  it('cannot be read without /proc', (context) => {
    assert.throws(() => readConnections(host, join(scratch(context), 'proc')), /cannot read .*\/proc: /);
  });
});

describe('a process that is not a connection', () => {
  const others: [string, FakeProcess][] = [
    ['a monitor', { pid: 20, title: 'sshd: pi [priv]' }],
    ['a monitor after the login', { pid: 20, title: 'sshd-session: pi [postauth]', name: 'sshd-session' }],
    ['a login in its sandbox', { pid: 20, uids: [105, 105, 105, 105], title: 'sshd: pi [preauth]' }],
    ['a monitor of OpenSSH 9.8', { pid: 20, title: 'sshd-session: pi [priv]', name: 'sshd-session' }],
    ['a key exchange', { pid: 20, title: 'sshd: [accepted]' }],
    ['a key exchange without privileges', { pid: 20, uids: [105, 105, 105, 105], title: 'sshd: [net]' }],
    ['a login that waits for its password', { pid: 20, uids: [105, 105, 105, 105], title: 'sshd: pi [net]' }],
    ['a login of nobody known', { pid: 20, title: 'sshd: unknown [priv]' }],
    ['a conversation with PAM', { pid: 20, title: 'sshd: pi [pam]' }],
    [
      'a key exchange that just became unprivileged',
      { pid: 20, uids: [105, 105, 105, 105], title: 'sshd: [accepted]' },
    ],
    ['sshd that has just run itself again', { pid: 20, title: 'sshd: [rexeced]' }],
    ['a user that has just logged in', { pid: 20, uids: PI, title: 'sshd: pi [priv]' }],
    ['a listener with next to no environment', { pid: 20, parent: 1, title: 'sshd: /usr/sbin/s' }],
    ['sshd before it has a title', { pid: 20, title: '/usr/sbin/sshd\0-D\0-R' }],
    [
      'a child of a user, with the title of a connection',
      { pid: 21, parent: 5, uids: PI, title: 'sshd: root@pts/9' },
    ],
    ['an orphan, with that title', { pid: 21, parent: 1, uids: PI, title: 'sshd: root@pts/9' }],
    [
      'a setuid program, with that title',
      { pid: 21, parent: 5, uids: [1000, 0, 0, 0], title: 'sshd: root@pts/9' },
    ],
    [
      'a setuid program that has given up the user who runs it',
      { pid: 21, parent: 5, gids: PI, title: 'sshd: root@pts/9' },
    ],
    ['another program, with that title', { pid: 21, name: 'sleep', title: 'sshd: root@pts/9' }],
    ['sshd of a container', { pid: 21, title: 'sshd: root@pts/9', namespaces: [21, 7] }],
  ];
  for (const [what, process] of others) {
    it(`can be ${what}`, (context) => {
      assert.deepEqual(read(proc(context, process)), { connections: [], unreadable: [] });
    });
  }

  it('can be what root runs as another user over SSH, whatever that calls itself', (context) => {
    const root = { pid: 20, title: 'sshd: root@notty' };
    const child = { pid: 21, parent: 20, uids: PI, title: 'sshd: pi@pts/9' };
    assert.deepEqual(read(proc(context, root, child)).connections, [{ user: 'root', kind: 'notty' }]);
  });

  it('can be the child of a process that only calls itself sshd', (context) => {
    const forger = {
      pid: 20,
      parent: 5,
      uids: PI,
      title: 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups',
    };
    const child = { pid: 21, parent: 20, uids: PI, title: 'sshd: root@pts/9' };
    assert.deepEqual(read(proc(context, forger, child)).connections, []);
  });

  it('can be a child of process 2, unless that is an ordinary process in a container', (context) => {
    for (const [name, connections] of [
      ['kthreadd', []],
      ['init', [{ user: 'root', kind: 'notty' }]],
    ] as const) {
      const root = proc(
        context,
        { pid: 2, name, title: '' },
        { pid: 20, parent: 2, title: 'sshd: root@notty' },
      );
      mkdirSync(join(root, '2/task/2'), { recursive: true });
      writeFileSync(join(root, '2/task/2/children'), '3 20 ');
      assert.deepEqual(read(root).connections, connections);
    }
  });

  it('is not overlooked because a long list of kernel threads is cut within a number', (context) => {
    const root = proc(
      context,
      { pid: 2, name: 'kthreadd', title: '' },
      { pid: 3092, title: 'sshd: root@notty' },
    );
    mkdirSync(join(root, '2/task/2'), { recursive: true });
    // 64 KiB end after the fourth digit of the last one.
    const threads = Array.from({ length: 11_000 }, (_, index) => (index < 10_922 ? 10_000 + index : 30_925));
    writeFileSync(join(root, '2/task/2/children'), `${threads.join(' ')} `);
    assert.deepEqual(read(root).connections, [{ user: 'root', kind: 'notty' }]);
  });

  const unreadable = [
    ['sshd: pi [\u001bnew]', 'sshd: pi [\uFFFDnew]'],
    ['sshd: ', 'sshd: '],
    [`sshd: pi@pts/1${',pts/1'.repeat(200)}`, `sshd: pi@pts/1${',pts/1'.repeat(200)}`.slice(0, 1024)],
  ] as const;
  for (const [title, text] of unreadable) {
    it(`is reported if its title is one that sshd does not write: "${title.slice(0, 20)}"`, (context) => {
      const found = read(proc(context, ...connection(title)));
      assert.deepEqual(found, { connections: [], unreadable: [text] });
    });
  }

  it('can end while it is read', (context) => {
    const root = proc(context, { pid: 20, title: 'sshd: root@pts/0' });
    mkdirSync(join(root, '99'));
    mkdirSync(join(root, '98'));
    writeFileSync(join(root, '98', 'comm'), 'sshd\n');
    assert.equal(read(root).connections.length, 1);
  });
});
