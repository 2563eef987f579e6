/** What keeps a live SSH session out of w, one by one, in a guest. */
import { type Guest, RELEASES, type Release } from './guest.ts';
import { until } from './process.ts';

export interface Cause {
  readonly name: string;
  /** Where it keeps sessions out of w. */
  readonly releases: readonly Release[];
  /** Brings it about for the sessions that are opened from now on, or with `afterwards` for those that are open. */
  readonly bringAbout: (guest: Guest) => Promise<unknown>;
  readonly afterwards?: true;
  readonly undo?: (guest: Guest) => Promise<unknown>;
  /** The ordinary account that it concerns, if it is not pi. */
  readonly user?: string;
  /** How long logging in can take, in milliseconds, if that is long. */
  readonly patienceMs?: number;
  /** What then knows the client. */
  readonly client: 'logind' | "sshd's log";
  /** Whose sessions it keeps out of w. */
  readonly hides: { readonly root: boolean; readonly ordinary: boolean };
}

/** An account whose name systemd refuses; a test adds it as it adds pi. */
export const DIGITS = '4711';

const both = { root: true, ordinary: true };

export const CAUSES: readonly Cause[] = [
  {
    name: 'logind is masked',
    releases: ['trixie'],
    bringAbout: (guest) => guest.run('systemctl mask --runtime --now systemd-logind'),
    undo: (guest) => guest.run('systemctl unmask --runtime systemd-logind && systemctl start systemd-logind'),
    client: "sshd's log",
    hides: both,
  },
  {
    name: 'logind is stopped and started',
    releases: ['trixie'],
    bringAbout: (guest) => guest.run('systemctl stop systemd-logind && systemctl start systemd-logind'),
    afterwards: true,
    client: "sshd's log",
    hides: both,
  },
  {
    name: 'sshd does not use PAM',
    releases: ['trixie'],
    bringAbout: (guest) =>
      guest.run('echo UsePAM no >/etc/ssh/sshd_config.d/0-no-pam.conf && systemctl restart ssh'),
    undo: (guest) => guest.run('rm /etc/ssh/sshd_config.d/0-no-pam.conf && systemctl restart ssh'),
    client: "sshd's log",
    hides: both,
  },
  {
    name: 'the PAM stack lacks pam_systemd',
    releases: ['trixie'],
    bringAbout: (guest) => guest.run("sed -i '/pam_systemd.so/s/^/#/' /etc/pam.d/common-session"),
    undo: (guest) => guest.run("sed -i '/pam_systemd.so/s/^#//' /etc/pam.d/common-session"),
    client: "sshd's log",
    hides: both,
  },
  {
    name: 'the name of the account is all digits',
    releases: ['trixie'],
    bringAbout: async () => {},
    user: DIGITS,
    client: "sshd's log",
    hides: { root: false, ordinary: true },
  },
  {
    name: 'the monitors are killed by their user',
    releases: RELEASES,
    bringAbout: killMonitors,
    afterwards: true,
    client: 'logind',
    hides: { root: false, ordinary: true },
  },
  {
    name: 'a user holds a lock on utmp',
    releases: ['bookworm'],
    bringAbout: (guest) => startAs(guest, 'test-lock', `perl -e '${LOCK_UTMP}'`, 'test -e /run/test/locked'),
    undo: (guest) => guest.run('systemctl stop test-lock'),
    client: 'logind',
    hides: both,
  },
  {
    name: 'a user takes all connections of the system bus',
    releases: ['trixie'],
    bringAbout: (guest) => startAs(guest, 'test-bus', `perl -e '${TAKE_BUS}'`, 'test -e /run/test/taken'),
    undo: (guest) =>
      guest.run('systemctl stop test-bus && until busctl --timeout=2 list >/dev/null; do sleep 1; done'),
    // pam_systemd waits 90 seconds for the bus.
    patienceMs: 150_000,
    client: "sshd's log",
    hides: both,
  },
  {
    name: 'a user deletes their rows with utempter',
    releases: ['bookworm'],
    bringAbout: (guest) => changeRows(guest, 'del'),
    afterwards: true,
    client: 'logind',
    hides: { root: false, ordinary: true },
  },
];

/** A read lock by fcntl(2) is enough to keep every writer waiting. */
const LOCK_UTMP = `
  open(my $utmp, "<", "/run/utmp") or die; my $lock = pack("s s x4 q q i x4", 0, 0, 0, 0, 0);
  fcntl($utmp, 6, $lock) or die; open(my $mark, ">", "/run/test/locked"); sleep 900`;

const TAKE_BUS = `
  use Socket; my @all; for (1..1100) { socket(my $one, PF_UNIX, SOCK_STREAM, 0) or last;
  connect($one, pack_sockaddr_un("/run/dbus/system_bus_socket")) or last; push @all, $one }
  open(my $mark, ">", "/run/test/taken"); sleep 900`;

/** Starts a program as pi, and waits until it is there. */
async function startAs(guest: Guest, unit: string, command: string, check: string): Promise<void> {
  await guest.run('rm -rf /run/test && install -d -o pi /run/test');
  const options = `--quiet --collect --unit=${unit} --uid=pi --property=LimitNOFILE=4096`;
  await guest.run(`systemd-run ${options} ${command.replaceAll('$', '$$$$')}`);
  await until(unit, async () => (await guest.exec(check)).status === 0);
}

/** As the user would: loginctl asks for no password to kill one's own. */
async function killMonitors(guest: Guest): Promise<void> {
  await guest.run(`
    for id in $(loginctl list-sessions --no-legend | awk '$3 == "pi" {print $1}'); do
      [ "$(loginctl show-session -P Service $id)" = sshd ] || continue
      runuser -u pi -- loginctl kill-session $id --kill-whom=leader --signal=KILL
    done`);
  const monitors = "ps -C sshd -C sshd-session -o args= | grep -c ': pi \\[priv\\]$'";
  await until('the monitors are gone', async () => (await guest.exec(monitors)).stdout.trim() === '0');
}

/**
 * Has utempter change the rows of pi's terminals. It takes the number of a terminal from what it is given, and that can be
 * of another devpts, where the user has opened as many as it takes. w shows a row as long as the process lives that had it
 * added.
 *
 * @param how `del`, or `add` with a client
 */
export async function changeRows(guest: Guest, how: string): Promise<void> {
  const script = `
    unshare --user --map-root-user --mount sh -c \\
      "mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts; touch /run/test/mounted; exec sleep 60" &
    until [ -e /run/test/mounted ]; do sleep 0.1; done
    inside=$(pgrep -u pi -x sleep -n)
    for number in $(seq 0 30); do
      exec {master}<>/proc/$inside/root/dev/pts/ptmx
      [ -O /dev/pts/$number ] || continue
      /usr/lib/*/utempter/utempter ${how} <&$master
    done
    kill $inside
    touch /run/test/changed
    exec sleep 900`;
  await guest.run('cat >/run/change-rows', { input: script });
  await startAs(guest, 'test-rows', 'bash /run/change-rows', 'test -e /run/test/changed');
}
