#!/bin/bash
# Installs ssh-sessions-exporter on Debian, and checks that node_exporter shows its metrics. It can be run again at any time.
set -Eeuo pipefail
shopt -s inherit_errexit nullglob
umask 022
# The caller decides neither which programs run as root nor the language of what is read here.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset LANGUAGE

readonly NAME=ssh-sessions-exporter
readonly DEFAULT_INTERVAL=15
readonly DEFAULT_DIR=/var/lib/prometheus/node-exporter

# What was asked for, and the file that keeps it for the next run. Everything else is found out again each time.
readonly SETTINGS=(POLL_INTERVAL PORT LOG_LEVEL TEXTFILE_DIR UFW_FROM)
readonly KEPT=/etc/$NAME/install.conf

usage() {
	cat <<END
Usage: sudo ./install.sh [install | update] [option...]
       sudo ./install.sh uninstall [--purge]

Installs or updates the package next to this file or, if there is none, one built from this checkout.

Settings, also as variables such as POLL_INTERVAL. They are remembered; an empty value resets one:
  --poll-interval SEC   seconds from one run to the next, 1 to 3600 (default: $DEFAULT_INTERVAL)
  --port PORT           node_exporter's port (default: the one it listens on)
  --log-level LEVEL     debug, info, warning or error (default: log only failures)
  --textfile-dir DIR    directory to write to (default: the one that node_exporter reads)
  --ufw-from NETWORK    if ufw is installed: who may connect to node_exporter's port. A network or address, any, or
                        none (default: the private networks that this machine is connected to)
  --no-ufw              the same as --ufw-from none

Not remembered:
  --purge               remove the settings too
  --trust-checkout      install although other accounts could have changed the files next to install.sh
  --replace-old         remove the Python exporter that this one replaces
  -h, --help            print this help
END
	exit
}

fail() {
	trap - ERR
	printf 'error: %s\n' "$1" >&2
	exit "${2:-1}"
}

has() { command -v -- "$1" >/dev/null; }
systemd_runs() { [[ -d /run/systemd/system ]]; }
version_of() { dpkg-query --show --showformat='${Version}' "$1"; }
given() { [[ " ${flags[*]} " == *" $1 "* ]]; }

# --- Settings asked for -----------------------------------------------------------------------------------

command=install
flags=()

recalled() { if [[ -f $KEPT ]]; then sed -n "s/^$1=//p" "$KEPT"; fi; }

# The environment goes before what is kept. Version 1.0.0 kept --no-ufw in its own way.
[[ -v UFW_FROM || $(recalled UFW) != no ]] || UFW_FROM=none
for name in "${SETTINGS[@]}"; do
	[[ -v $name ]] || declare "$name=$(recalled "$name")"
done

read_command_line() {
	local name help='; see ./install.sh --help'
	while (($#)); do
		[[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
		case $1 in
		install | update | uninstall) command=$1 ;;
		-h | --help) usage ;;
		--purge | --replace-old | --trust-checkout) flags+=("$1") ;;
		--no-ufw) UFW_FROM=none ;;
		--poll-interval | --port | --log-level | --textfile-dir | --ufw-from)
			(($# > 1)) || fail "$1 needs a value$help" 2
			name=${1#--} name=${name//-/_}
			declare -g "${name^^}=$2"
			shift
			;;
		*) fail "$1 is unknown$help" 2 ;;
		esac
		shift
	done
	! given --purge || [[ $command == uninstall ]] || fail "--purge goes with uninstall$help" 2
}

check_settings() {
	interval=${POLL_INTERVAL:-$DEFAULT_INTERVAL}
	[[ $interval =~ ^[1-9][0-9]{0,3}$ && $interval -le 3600 ]] ||
		fail "POLL_INTERVAL is '$interval'; give a whole number of seconds from 1 to 3600"
	[[ $interval == "$DEFAULT_INTERVAL" ]] || systemd_runs ||
		fail "POLL_INTERVAL is '$interval', but without systemd cron runs every $DEFAULT_INTERVAL s; leave it out"
	[[ -z $PORT || ($PORT =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535) ]] || fail "PORT is '$PORT'; give a number from 1 to 65535"
	LOG_LEVEL=${LOG_LEVEL,,}
	[[ $LOG_LEVEL == ?(debug|info|warning|error) ]] || fail "LOG_LEVEL is '$LOG_LEVEL'; give debug, info, warning or error"
	[[ -z $TEXTFILE_DIR ]] || check_directory "$TEXTFILE_DIR" "TEXTFILE_DIR is '$TEXTFILE_DIR'"
	[[ $UFW_FROM == ?(none) ]] || ufw --dry-run allow from "$UFW_FROM" >/dev/null ||
		fail "--ufw-from is '$UFW_FROM'; install ufw, and give a network such as 192.168.1.0/24 or fd00::/8, any, or none"
}

# Arguments: directory, what to call it. Both systemd and a shell read its name.
check_directory() {
	[[ $1 =~ ^/[A-Za-z0-9._/+@:~-]*$ && $1/ != ?(/var)/tmp/* ]] ||
		fail "$2; give an absolute path of letters, digits and ._/+@:~-, outside of /tmp and /var/tmp"
	[[ -d $1 ]] || fail "$2, which does not exist; create it (mkdir -p $1), or name another directory"
}

# --- Steps ------------------------------------------------------------------------------------------------

declare work="" ticker="" step=0 steps=2

# Not below /tmp or /var/tmp: what is built and installed here must be out of other accounts' reach.
make_work_directory() {
	local reachable
	work=$(mktemp -d -p "$(readlink -f /var/cache)" "$NAME.XXXXXX") || fail "cannot write to /var/cache; is the file system full, or mounted read-only? (mount -o remount,rw /)"
	trap 'kill $ticker 2>/dev/null || true; rm -rf "$work"' EXIT
	trap 'fail "interrupted; run it again to finish"' INT TERM HUP
	reachable=$(changeable 0 0 "$work")
	[[ -z $reachable ]] || fail "accounts other than root can write to $reachable; let only root write there (chown root $reachable; chmod go-w $reachable)"
	chmod 711 "$work" # apt's own account reads the package here.
	export TMPDIR=$work
}

# Runs a command that can take minutes: says what it does, how far it is, and how long it took.
run_step() {
	local start=$SECONDS
	echo "[$((++step))/$steps] $1 ..."
	while sleep 15 &>/dev/null; do echo "    $((SECONDS - start)) s: $(last_lines 1)"; done &
	ticker=$!
	if ! quietly "${@:2}"; then
		last_lines 12 >&2
		fail "that step failed, for the reason above; check the network and /etc/apt, and run this again"
	fi
	{ kill "$ticker" && wait "$ticker"; } 2>/dev/null || true
	echo "    done in $((SECONDS - start)) s"
}

quietly() { "$@" >"$work/log" 2>&1 </dev/null; }

# Prints the end of the log: a few lines, not too long, of printable characters.
last_lines() { tail -n "$1" "$work/log" | tr -cd '[:print:]\n' | cut -c 1-160; }

# --- Packages ---------------------------------------------------------------------------------------------

# Finishes what was interrupted. Gets new package lists, and repairs, only if it does not work otherwise.
install_packages() {
	dpkg --configure -a || true
	apt_get install "$@" || { apt_get update && apt_get --fix-broken install && apt_get install "$@"; }
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get --yes --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Prints the first path, from $3 upwards, that an account other than root and user $1 with group $2 could change.
changeable() {
	local path=$3 paths=(/)
	while [[ -n $path ]]; do
		paths+=("$path")
		path=${path%/*}
	done
	find "${paths[@]}" -maxdepth 0 \( ! -uid 0 ! -uid "$1" -o ! -perm -1000 \
		\( -perm /002 -o -perm /020 ! -gid "$2" \) \) -print -quit
}

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
package=

# Sets `package` to the .deb to install. In a checkout it can be missing, and has to be built.
find_package() {
	local version beside=("$here/${NAME}"_*_all.deb)
	package=${beside[*]: -1}
	if [[ -f $here/package.json ]]; then
		version=$(sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$here/package.json")
		package=$here/${NAME}_${version/-/"~"}_all.deb
	fi
	[[ -n $package ]] || fail "there is neither a package next to install.sh nor a checkout to build it from; download both"
	if [[ -f $package ]]; then
		check_owners "$package"
		dpkg-deb --field "$package" Version &>/dev/null ||
			fail "${package##*/} is damaged; download it again, or delete it to have it built"
		echo "Using ${package##*/}, which lies next to install.sh."
	else
		check_owners "$here"
	fi
}

# Whoever can change these files, or replace a directory above them, could have anything done as root.
check_owners() {
	local mine=${SUDO_UID:-0} group=0 path
	! given --trust-checkout || return 0
	# A group of one's own has the account's name.
	if [[ $(id -gn "$mine") == "$(id -un "$mine")" ]]; then group=$(id -g "$mine"); fi
	path=$(changeable "$mine" "$group" "$1")
	if [[ -z $path && -d $1 ]]; then
		cd "$1"
		path=$(find . \( -path ./node_modules -o -path ./.git -o -path ./build -o -path ./dist \) -prune -o \
			\( ! -uid 0 ! -uid "$mine" -o ! -type l \( -perm /002 -o -perm /020 ! -gid "$group" \) \) -print -quit)
	fi
	[[ -z $path ]] ||
		fail "${path@Q} belongs to, or can be changed by, another account ($(stat -c '%U, mode %a' "$path")); move the files to a directory of your own, or give --trust-checkout"
}

# In a copy, because root must leave no files in a user's checkout. `npm run` would put node_modules/.bin of every directory
# above in front of PATH; npm's other ways to be told what to do are closed one by one. Only what reaching the npm
# registry may need is taken from the caller's environment.
build_package() {
	local source=$work/source name
	local run=(env -i -C "$source" PATH="$PATH" HOME="$source" TMPDIR="$source" LC_ALL=C.UTF-8)
	for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY NODE_EXTRA_CA_CERTS npm_config_registry; do
		if [[ -v $name ]]; then run+=("$name=${!name}"); fi
	done
	mkdir -m 700 "$source" &&
		cp -R "$here"/{LICENSE,package*.json,bin,cron,docs,monitoring,packaging,scripts,src,systemd} "$source" &&
		"${run[@]}" npm ci --prefix="$source" --no-workspaces --userconfig="$source/build/none" --globalconfig="$source/build/nothing" \
			--cache="$source/build/npm" --engine-strict --ignore-scripts --omit=optional --no-audit --no-fund --no-update-notifier &&
		"${run[@]}" node scripts/build.js && "${run[@]}" node packaging/build.js
}

# --- node_exporter ----------------------------------------------------------------------------------------

# Prints the process IDs of node_exporter on this machine. Only root may have started it: the service runs as the owner of
# the directory that it names, and the firewall is opened for its port.
find_exporters() {
	local pid origin program
	started_by_root | while read -r pid origin; do
		program=$(readlink "/proc/$pid/exe") || continue
		if [[ $program =~ /(prometheus-node-exporter|node_exporter)$ && $program -ef /proc/$pid/exe && $program -ef $origin &&
			-z $(changeable 0 0 "$program") ]]; then echo "$pid"; fi
	done | sort -u
}

# Prints processes and what they were started with, because a process can become another program: the services of the
# system, and what runs as root but in no container. Without systemd, Debian runs node_exporter as prometheus.
started_by_root() {
	local other=0
	if systemd_runs; then
		systemctl show --property=MainPID,ExecStart '*.service' |
			awk -F '[= ]' '$1 == "MainPID" { pid = $2 } $1 == "ExecStart" { print pid, $4 }'
	else
		other=$(id -u prometheus 2>/dev/null) || true
	fi
	{ cat /proc/[0-9]*/status 2>/dev/null || true; } | awk -v other="$other" '/^Pid:/ { pid = $2 } /^Uid:/ { uid = $2 }
		/^NSpid:/ && NF == 2 && (uid == 0 || uid == other) { print pid, "/proc/" pid "/exe" }'
}

# Arguments: process ID, option. Prints its values, one per line.
values() {
	tr '\0' '\n' <"/proc/$1/cmdline" | sed -n "s/^--$2=//p; /^--$2\$/{ n; p }"
}

declare dir="" address=""

# Sets `dir` and `address`: where to write, and where to look for the result.
find_destination() {
	local start=$SECONDS port=$PORT pid read_dirs listened
	dir=${TEXTFILE_DIR%/}
	address=localhost:${port:-9100}
	if [[ -n $dir && -n $port ]]; then return; fi
	until pid=$(find_exporters) && [[ -n $pid ]]; do
		((SECONDS - start < 15)) ||
			fail "no node_exporter runs that root or the system started and whose program only root can change (systemctl status prometheus-node-exporter); for another one, give both --textfile-dir and --port"
		quietly service prometheus-node-exporter start || true
		sleep 0.5
	done
	[[ $pid != *$'\n'* ]] ||
		fail "node_exporter runs more than once, as processes ${pid//$'\n'/ }; choose one with both --textfile-dir and --port"
	mapfile -t read_dirs < <(values "$pid" collector.textfile.directory)
	if ((${#read_dirs[@]} == 0)) && [[ /proc/$pid/exe -ef /usr/bin/prometheus-node-exporter ]]; then read_dirs=("$DEFAULT_DIR"); fi
	read_dirs=("${read_dirs[@]%/}")
	dir=${dir:-${read_dirs[0]-}}
	[[ -n $dir ]] ||
		fail "node_exporter (process $pid) reads no textfile directory; start it with --collector.textfile.directory=$DEFAULT_DIR, and run this again"
	[[ " ${read_dirs[*]} " == *" $dir "* ]] ||
		fail "node_exporter reads ${read_dirs[*]}, and not $dir; leave TEXTFILE_DIR out, or start node_exporter with --collector.textfile.directory=$dir"
	check_directory "$dir" "node_exporter reads the textfile directory $dir"
	while read -r listened; do
		if [[ ${listened##*:} == "${port:=${listened##*:}}" ]]; then address=$listened; fi
	done < <(values "$pid" web.listen-address)
	if [[ $address == ?(0.0.0.0|\[::\]):* ]]; then address=localhost:${address##*:}; fi
}

# --- Settings ---------------------------------------------------------------------------------------------

# Root without capabilities can write only where root owns the directory, so the owner writes. The group is for sshd's log.
apply_settings() {
	local name owner earlier file=$dir/ssh_sessions.prom boot_cleaning=/etc/tmpfiles.d/$NAME.conf
	local kept=() service=() timer=() boot=()
	owner=$(stat -c %U "$dir")
	for name in "${SETTINGS[@]}"; do
		if [[ -n ${!name} ]]; then kept+=("$name=${!name}"); fi
	done
	if [[ $dir != "$DEFAULT_DIR" ]]; then
		service+=("Environment=SSH_SESSIONS_OUTPUT=$file" "ReadWritePaths=$dir")
		boot=("r! $file")
	fi
	if [[ $dir/ == @(/home|/root|/run/user)/* ]]; then service+=(ProtectHome=read-only); fi
	if [[ $owner != root ]]; then service+=("User=$owner" SupplementaryGroups=systemd-journal); fi
	if [[ -n $LOG_LEVEL ]]; then service+=("Environment=LOG_LEVEL=$LOG_LEVEL"); fi
	# Otherwise the journal drops what is asked for.
	if [[ $LOG_LEVEL == @(debug|info) ]]; then service+=("LogLevelMax=$LOG_LEVEL"); fi
	# A time of the calendar, as in the unit, does not drift, but not every interval can be written as one.
	if [[ $interval != "$DEFAULT_INTERVAL" ]]; then timer=(OnCalendar= "OnUnitActiveSec=${interval}s"); fi

	earlier=$(sed -n 's/^r! //p' "$boot_cleaning" 2>/dev/null) || earlier=$DEFAULT_DIR/ssh_sessions.prom
	if [[ $earlier != "$file" ]]; then
		quietly systemctl stop "$NAME.timer" "$NAME.service" || true # A run that has begun would write it once more.
		rm -f "$earlier"
	fi
	write "$KEPT" "# Settings asked for" "${kept[@]}"
	write "/etc/$NAME/cron.conf" "# The same for cron" "SSH_SESSIONS_OUTPUT=$file" "RUN_AS=$owner" "LOG_LEVEL=${LOG_LEVEL:-warning}"
	write "$boot_cleaning" "# At boot" "${boot[@]}"
	write "/etc/systemd/system/$NAME.service.d/install.conf" '[Service]' "${service[@]}"
	write "/etc/systemd/system/$NAME.timer.d/install.conf" '[Timer]' "${timer[@]}"
	if systemd_runs; then systemctl daemon-reload; fi
}

# Writes lines below a heading to a file, in one step; removes the file if there are none.
write() {
	if (($# == 2)); then
		rm -f "$1"
	else
		mkdir -p "${1%/*}"
		printf '%s\n' "# Written by install.sh; run it again to change this." "${@:2}" >"$1.new" ||
			fail "cannot write $1; free some space, and run this again"
		mv -f "$1.new" "$1"
	fi
}

# --- Firewall ---------------------------------------------------------------------------------------------

# Has ufw allow what is asked for, and no longer what an earlier run added. What it added refers to node_exporter's port
# by the name of an application, which tells it from an administrator's own rules.
set_firewall() {
	local port=${address##*:} networks=("$UFW_FROM") network
	case $UFW_FROM in
	none) networks=() ;;
	'') mapfile -t networks < <(private_networks) ;;
	esac
	close_firewall "${networks[@]}"
	write "/etc/ufw/applications.d/$NAME" \
		"[$NAME]" "title=node_exporter" "description=Metrics for Prometheus" "ports=$port/tcp"
	ufw app update "$NAME"
	for network in "${networks[@]}"; do
		echo "Opening port $port to $network:"
		ufw allow from "$network" to any app "$NAME"
	done
	[[ -n $UFW_FROM ]] || echo "To open port $port to one address only: sudo ./install.sh --ufw-from ADDRESS"
}

# Those that the addresses of this machine belong to, by the routes that come with them.
private_networks() {
	{ ip -4 route && { ! grep -qx 'IPV6=yes' /etc/default/ufw || ip -6 route; }; } |
		awk '/ proto (kernel|dhcp|ra) / && !/ via | linkdown/ { print $1 }' |
		awk '/^(10\.|172\.(1[6-9]|2[0-9]|3[01])\.|192\.168\.|f[cd]).*\//'
}

# Deletes the rules that install.sh has added, but for the networks given. Version 1.0.0 kept its rule in a file.
close_firewall() {
	{ ufw show added | sed -nE "s/^ufw (.* ($NAME|comment '$NAME'))\$/\1/p" && recalled UFW_RULE; } |
		{ grep -Fxvf <(printf "allow from %s to any app $NAME\n" "$@") || true; } |
		xargs --no-run-if-empty --verbose --max-lines=1 ufw delete
}

# QuickJS costs far less to run than Node.js, which may be here for something else, such as to build this. Debian 12 has none.
add_quickjs() {
	local least offered
	least=$(dpkg-deb --field "$work/$NAME.deb" Breaks | tr -cd '0-9.')
	offered=$(apt-cache policy quickjs | sed -n 's/^  Candidate: \([0-9]\)/\1/p')
	if [[ ! -x /usr/bin/qjs ]] && dpkg --compare-versions "$offered" ge "$least"; then
		quietly apt_get install quickjs || echo "warning: quickjs cannot be installed, so Node.js runs it: $(last_lines 1)"
	fi
}

# --- Start and check --------------------------------------------------------------------------------------

# The Python exporter that this one replaces.
look_for_old() {
	local unit=ssh_sessions_exporter.service dir=/opt/ssh_sessions port=9122
	systemctl cat "$unit" &>/dev/null || [[ -d $dir ]] || return 0
	if given --replace-old; then
		quietly systemctl disable --now "$unit" || true
		rm -rf {/etc,/usr/lib}"/systemd/system/$unit" "/etc/systemd/system/$unit.d" "$dir"
		if systemd_runs; then systemctl daemon-reload; fi
		if has ufw; then { quietly ufw delete allow $port; quietly ufw delete allow $port/tcp; } || true; fi
		echo "Removed the previous exporter ($unit, $dir, port $port)."
	else
		echo "warning: the previous exporter is still installed ($unit, $dir) and exports the same metric names; remove it with --replace-old"
	fi
}

start_runs() {
	if systemd_runs; then
		quietly systemctl enable --now "$NAME.timer" ||
			fail "cannot start $NAME.timer: $(last_lines 1); if it is masked: systemctl unmask $NAME.timer"
	elif ! pgrep -x 'cron|crond' >/dev/null; then
		quietly service cron start || fail "neither systemd nor cron runs; start cron, and run this again"
	fi
}

check_result() {
	local start=$SECONDS run=(systemctl start "$NAME.service")
	systemd_runs || run=("/usr/lib/$NAME/run-from-cron")
	echo "[$((++step))/$steps] Waiting until http://$address/metrics shows the sessions ..."
	if ! quietly "${run[@]}"; then
		{ journalctl --sync && journalctl -u "$NAME" -p err --since "@$began" -o cat >"$work/log"; } &>/dev/null || true
		fail "a run failed: $(sed 's/^error: //; q' "$work/log") (more: journalctl -u $NAME)"
	fi
	until shows_sessions; do
		((SECONDS - start < 20)) || fail "http://$address/metrics does not show ssh_sessions_total: $(last_lines 1)"
		sleep 1
	done
	echo "    done in $((SECONDS - start)) s"
}

# Whether /metrics shows what was written after this script began. If not, the last line of the log says why.
shows_sessions() {
	local host=${address%:*} page=$work/page
	host=${host#[} host=${host%]}
	# shellcheck disable=SC2016 # the inner shell expands these
	quietly timeout 10 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 && head -c 100M <&3 >"$2"' \
		"${host/#localhost/127.0.0.1}" "${address##*:}" "$page" || return
	if ! grep -q '^HTTP/1\.. 200' "$page"; then
		echo "it answers '$(head -n1 "$page")'; does it need TLS or a password?"
	elif ! awk -v since="$began" '/^ssh_sessions_exporter_last_run_timestamp_seconds / { last = $2 } END { exit last < since }' "$page"; then
		echo "it shows nothing new. Does it read $dir? Is its textfile collector switched off (--no-collector.textfile)? Does ARGS in /etc/default/$NAME name another file?"
	else
		return 0
	fi >"$work/log"
	return 1
}

# A w that asks systemd-logind, as Debian's does from 4.0.4 on, lists no session that was not made known there.
warn_of_empty_w() {
	local effect="so w lists no SSH session. They are exported from sshd's processes, without the times of login and idling, the CPU times and the command"
	dpkg --compare-versions "$(version_of procps)" ge 2:4.0.4 || return 0
	if ! systemctl is-active --quiet systemd-logind; then
		echo "warning: systemd-logind does not run (masked?), $effect"
	elif sshd -T 2>/dev/null | grep -x 'usepam no' >/dev/null; then
		echo "warning: sshd has UsePAM no, $effect"
	fi
}

# --- Commands ---------------------------------------------------------------------------------------------

install_all() {
	local before missing=() runner="systemd timer"
	check_settings
	make_work_directory
	find_package
	[[ -f $package ]] || { has node && has npm; } || missing+=(nodejs npm)
	[[ -n $TEXTFILE_DIR && -n $PORT || -n $(find_exporters) ]] || has prometheus-node-exporter || missing+=(prometheus-node-exporter)
	systemd_runs || has cron || has crond || missing+=(cron)
	[[ -f $package ]] || ((++steps))
	if ((${#missing[@]})); then
		((++steps))
		run_step "Installing ${missing[*]}" install_packages "${missing[@]}"
		if [[ ${missing[0]} == nodejs ]]; then quietly apt-mark auto nodejs npm; fi # what the package needs of them, it depends on
	fi
	if [[ ! -f $package ]]; then
		run_step "Building the package from this checkout" build_package
		package=$work/source/${package##*/}
	fi
	find_destination
	if has ufw; then set_firewall; fi
	apply_settings # before the package starts the timer
	before=$(version_of "$NAME" 2>/dev/null) || true
	install -m 644 "$package" "$work/$NAME.deb"
	run_step "Installing ${package##*/}" install_packages --reinstall --allow-downgrades "$work/$NAME.deb"
	add_quickjs
	look_for_old
	start_runs
	check_result
	systemd_runs || runner=cron
	if systemd_runs; then warn_of_empty_w; fi
	cat <<END
Done: $NAME $(version_of "$NAME") is installed${before:+ (previously $before)}.
Every $interval s ($runner) it writes $dir/ssh_sessions.prom, which http://$address/metrics shows.
Next: add this machine to the scrape_configs of Prometheus, if it is not there:
  - job_name: node
    static_configs: [{ targets: ['$(cat /proc/sys/kernel/hostname):${address##*:}'] }]
END
}

uninstall() {
	local how=remove
	if given --purge; then how=purge; fi
	make_work_directory
	if has ufw; then close_firewall; fi
	dpkg "--$how" "$NAME" || fail "dpkg could not remove it, for the reason above"
	rm -rf "/var/cache/$NAME."* # of this run, and of any that was killed
	echo "node_exporter was kept; 'apt-get autoremove' removes what nothing else needs."
}

trap 'fail "line $LINENO of install.sh failed: $BASH_COMMAND; please report it"' ERR
read_command_line "$@"
((EUID == 0)) || fail "install.sh must run as root; use: sudo ./install.sh $*"
has apt-get || fail "this machine has no apt-get; install.sh is for Debian and its derivatives"
readonly began=$EPOCHSECONDS
if [[ $command == uninstall ]]; then uninstall; else install_all; fi
