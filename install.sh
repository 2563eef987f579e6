#!/bin/bash -p
# Installs ssh-sessions-exporter on Debian, and checks that node_exporter shows its metrics. It can be run again at any time.
set -Eeuo pipefail
shopt -s inherit_errexit nullglob
umask 022
# The caller decides neither which programs run as root (so -p, and HOME) nor the language of what is read here.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
unset LANGUAGE TMPDIR POSIXLY_CORRECT

readonly NAME=ssh-sessions-exporter
readonly DEFAULT_INTERVAL=15
readonly DEFAULT_DIR=/var/lib/prometheus/node-exporter

# What was asked for, and the file that keeps it for the next run. Everything else is found out again each time.
readonly SETTINGS=(POLL_INTERVAL PORT LOG_LEVEL TEXTFILE_DIR UFW_FROM)
readonly KEPT=/etc/$NAME/install.conf

usage() {
	cat <<END
Usage: sudo ./install.sh [install | update] [option...]
       sudo ./install.sh uninstall [--purge]    --purge removes the settings too

Remembered, and also variables, such as POLL_INTERVAL; an empty value resets one:
  --poll-interval SEC   seconds from one run to the next, 1 to 3600
  --port PORT           node_exporter's port
  --log-level LEVEL     debug, info, warning or error
  --textfile-dir DIR    the directory to write to, which node_exporter reads
  --ufw-from NETWORK    who may connect, if ufw is installed: a network or address, any, none (default: private networks)
For this run only:
  --trust-checkout      install although other accounts could have changed the files next to install.sh
  --replace-old         remove the Python exporter that this one replaces
END
	exit
}

fail() {
	printf 'error: %s\n' "$1" >&2
	exit "${2:-1}"
}

has() { command -v -- "$1" >/dev/null; }
systemd_runs() { [[ -d /run/systemd/system ]]; }
version_of() { dpkg-query --show --showformat='${Version}' "$1"; }
given() { [[ " ${flags[*]} " == *" $1 "* ]]; }

# --- What is asked for ------------------------------------------------------------------------------------

declare command=install removal=remove flags=()

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
		--purge) removal=purge ;;
		--no-ufw) UFW_FROM=none ;; # as in version 1.0.0
		--replace-old | --trust-checkout) flags+=("$1") ;;
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
	[[ $removal == remove || $command == uninstall ]] || fail "--purge goes with uninstall$help" 2
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
	# ufw deletes no rule for ::/0 by the name that it shows it under.
	[[ $UFW_FROM == ?(none) ]] || { has ufw && [[ $UFW_FROM != */0* ]] && ufw --dry-run allow from "$UFW_FROM" >/dev/null; } ||
		fail "--ufw-from is '$UFW_FROM'; install ufw, and give a network such as 192.168.1.0/24 or fd00::/8, any, or none"
}

# Arguments: directory, what to call it. Both systemd and a shell read its name.
check_directory() {
	[[ $1 =~ ^/[A-Za-z0-9._+@:~-][A-Za-z0-9._/+@:~-]*$ && $1/ != ?(/var)/tmp/* ]] ||
		fail "$2; give an absolute path of letters, digits and ._/+@:~-, outside of /tmp and /var/tmp"
	[[ -d $1 ]] || fail "$2, which does not exist; create it (mkdir -p $1), or name another directory"
}

# --- The package ------------------------------------------------------------------------------------------

declare package="" step=0 steps=3

# Runs a command that can take minutes, and that says itself how far it is.
run_step() {
	local start=$SECONDS
	echo "[$((++step))/$steps] $1 ..."
	"${@:2}" </dev/null || fail "that step failed, for the reason above; run this again when it is mended"
	echo "    done in $((SECONDS - start)) s"
}

# Finishes what was interrupted. Gets new package lists, and repairs, only if it does not work otherwise.
apt_install() {
	local install=(apt-get install --yes --no-remove --no-install-recommends -o APT::Get::HideAutoRemove=true
		-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
	dpkg --configure -a
	"${install[@]}" "$@" || { apt-get update && "${install[@]}" --fix-broken && "${install[@]}" "$@"; }
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

here=$(readlink -f -- "${BASH_SOURCE[0]:?run install.sh from its file}") here=${here%/*}
sources=("$here"/{LICENSE,package*.json,bin,cron,docs,monitoring,packaging,scripts,src,systemd})

# Sets `package` to the .deb next to install.sh. In a checkout it has to be built.
find_package() {
	local beside
	mapfile -d '' beside < <(printf '%s\0' "$here/${NAME}"_*_all.deb | sort --zero-terminated --version-sort)
	if [[ -f $here/package.json ]]; then
		check_owners "${sources[@]}"
	else
		package=${beside[*]: -1}
		[[ -n $package ]] || fail "there is no .deb next to install.sh, and this is no checkout; download the .deb to $here"
		check_owners "$package"
		dpkg-deb --field "$package" Version >/dev/null || fail "${package##*/} is damaged; download it again"
	fi
}

# Whoever can change these files, or replace a directory above them, could have anything done as root.
check_owners() {
	local mine=${SUDO_UID:-0} group=0 path
	! given --trust-checkout || return 0
	# A group of one's own has the account's name, and no other member.
	if [[ $(getent group "$(id -g "$mine")") == "$(id -un "$mine"):"*: ]]; then group=$(id -g "$mine"); fi
	path=$(changeable "$mine" "$group" "$1" && find "$@" \
		\( ! -uid 0 ! -uid "$mine" -o -perm /002 -o -perm /020 ! -gid "$group" \) -print -quit)
	path=${path%%$'\n'*}
	[[ -z $path ]] ||
		fail "${path@Q} belongs to, or can be changed by, another account ($(stat -c '%U, mode %a' "$path")); move the files, or give --trust-checkout"
}

# In a copy, because root must leave no files in a user's checkout, and not below /tmp or /var/tmp, where other accounts
# could reach it. `npm run` would put node_modules/.bin of every directory above in front of PATH; npm's other ways to be
# told what to do are closed one by one. Only what reaching the npm registry may need is taken from the caller.
build_package() {
	local name run
	work=$(mktemp -d -p "$(readlink -f /var/cache)" "$NAME.XXXXXX") || return
	trap 'rm -rf "$work"' EXIT
	[[ -z $(changeable 0 0 "$work") ]] || fail "accounts other than root can write to /var/cache, or above it"
	run=(env -i -C "$work" PATH="$PATH" HOME="$work" TMPDIR="$work" LC_ALL=C.UTF-8)
	for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY NODE_EXTRA_CA_CERTS npm_config_registry; do
		if [[ -v $name ]]; then run+=("$name=${!name}"); fi
	done
	# What the package needs of these, it depends on.
	{ has node && has npm; } || { apt_install nodejs npm && apt-mark auto nodejs npm; } || return
	cp -R "${sources[@]}" "$work" &&
		"${run[@]}" npm ci --prefix="$work" --no-workspaces \
			--userconfig="$work/build/none" --globalconfig="$work/build/nothing" --cache="$work/build/npm" \
			--engine-strict --ignore-scripts --omit=optional --no-audit --no-fund --no-update-notifier &&
		"${run[@]}" node scripts/build.js && "${run[@]}" node packaging/build.js &&
		package=$(echo "$work/${NAME}"_*_all.deb)
}

# --- node_exporter ----------------------------------------------------------------------------------------

# Prints the process IDs of the services that are node_exporter. Nobody but root may be able to change its program, because
# runs get the rights of its directory's owner. A process can become another program than the one that was started.
find_exporters() {
	local pid started program
	systemctl show --property=MainPID,ExecStart '*.service' |
		awk -F '[= ]' '$1 == "MainPID" { pid = $2 } $1 == "ExecStart" { print pid, $4 }' |
		while read -r pid started; do
			program=$(readlink "/proc/$pid/exe") || continue
			if [[ $program =~ /(prometheus-node-exporter|node_exporter)$ && $program -ef /proc/$pid/exe &&
				$program -ef $started && -z $(changeable 0 0 "$program") ]]; then echo "$pid"; fi
		done
}

# Arguments: process ID, option. Prints its values, one per line.
values() {
	tr '\0' '\n' <"/proc/$1/cmdline" | sed -n "s/^--$2=//p; /^--$2\$/{ n; p }"
}

# Debian's would take the port of another one, now or at the next boot.
add_exporter() {
	! (: <>/dev/tcp/localhost/9100) 2>/dev/null ||
		fail "port 9100 is in use, but no service is a node_exporter that only root can change; give both --textfile-dir and --port"
	apt_install prometheus-node-exporter
}

# Sets `dir` and `address`: where to write, and where to look for the result.
find_destination() {
	local debians=prometheus-node-exporter port=$PORT start pid
	dir=${TEXTFILE_DIR%/}
	has $debians || [[ -n $dir && -n $port || -n $(find_exporters) ]] || add_exporter || return
	# Without systemd nothing tells who started a process.
	systemd_runs || { dir=${dir:-$DEFAULT_DIR} && port=${port:-9100}; }
	address=localhost:$port
	if [[ -n $dir && -n $port ]]; then return; fi
	start=$SECONDS
	until pid=$(find_exporters) && [[ -n $pid ]]; do
		((SECONDS - start < 15)) ||
			fail "no service is a node_exporter that only root can change (systemctl status $debians); give both --textfile-dir and --port"
		service $debians start &>/dev/null || true
		sleep 0.5
	done
	[[ $pid != *$'\n'* ]] ||
		fail "node_exporter runs more than once, as processes ${pid//$'\n'/ }; choose one with both --textfile-dir and --port"
	dir=${dir:-$(values "$pid" collector.textfile.directory | sed '1!d; s|/$||')}
	[[ ! /proc/$pid/exe -ef /usr/bin/$debians ]] || dir=${dir:-$DEFAULT_DIR}
	[[ -n $dir ]] || fail "node_exporter reads no textfile directory; start it with --collector.textfile.directory=$DEFAULT_DIR"
	check_directory "$dir" "node_exporter reads the textfile directory $dir"
	address=$({ values "$pid" web.listen-address && echo "localhost:${port:-9100}"; } | grep ":${port:-[0-9]*}\$")
	address=${address%%$'\n'*}
	if [[ $address == ?(0.0.0.0|\[::\]):* ]]; then address=localhost:${address##*:}; fi
}

# --- Settings and firewall --------------------------------------------------------------------------------

# Root without capabilities can write only where root owns the directory, so the owner writes. The group is for sshd's log.
apply_settings() {
	local name owner earlier file=$dir/ssh_sessions.prom boot_cleaning=/etc/tmpfiles.d/$NAME.conf
	local kept=() service=() timer=()
	owner=$(stat -Lc %U "$dir")
	for name in "${SETTINGS[@]}"; do kept+=("$name=${!name}"); done
	if [[ $dir != "$DEFAULT_DIR" ]]; then service+=("Environment=SSH_SESSIONS_OUTPUT=$file" "ReadWritePaths=$dir"); fi
	if [[ $dir/ == @(/home|/root|/run/user)/* ]]; then service+=(ProtectHome=read-only); fi
	if [[ $owner != root ]]; then service+=("User=$owner" SupplementaryGroups=systemd-journal); fi
	# Without LogLevelMax= the journal drops what is asked for.
	if [[ -n $LOG_LEVEL ]]; then service+=("Environment=LOG_LEVEL=$LOG_LEVEL" "LogLevelMax=${LOG_LEVEL/error/err}"); fi
	# A time of the calendar, as in the unit, does not drift, but cannot say every interval. OnCalendar= resets OnBootSec= too.
	[[ $interval == "$DEFAULT_INTERVAL" ]] || timer=(OnCalendar= OnBootSec=1s "OnUnitActiveSec=${interval}s")
	earlier=$(sed -n 's/^r! //p' "$boot_cleaning" 2>/dev/null) || earlier=$DEFAULT_DIR/ssh_sessions.prom
	if [[ $earlier != "$file" ]]; then
		systemctl stop "$NAME.timer" "$NAME.service" &>/dev/null || true # A run that has begun would write it once more.
		rm -f "$earlier"
	fi
	write "$KEPT" "${kept[@]}"
	write "/etc/$NAME/cron.conf" "SSH_SESSIONS_OUTPUT=$file" "RUN_AS=$owner" "LOG_LEVEL=${LOG_LEVEL:-warning}"
	write "$boot_cleaning" "r! $file"
	write "/etc/systemd/system/$NAME.service.d/install.conf" '[Service]' "${service[@]}"
	write "/etc/systemd/system/$NAME.timer.d/install.conf" '[Timer]' "${timer[@]}"
}

# Writes lines to a file, in one step.
write() {
	mkdir -p "${1%/*}"
	printf '%s\n' "# Written by install.sh; run it again to change this." "${@:2}" >"$1.new"
	mv -f "$1.new" "$1"
}

# Has ufw allow what is asked for, by rules that name an application, and no longer what an earlier run added.
set_firewall() {
	local port=${address##*:} networks=("$UFW_FROM") network
	case $UFW_FROM in
	none) networks=() ;;
	'') mapfile -t networks < <(private_networks) ;;
	esac
	close_firewall "${networks[@]}"
	write "/etc/ufw/applications.d/$NAME" "[$NAME]" "title=node_exporter" "description=Metrics" "ports=$port/tcp"
	ufw app update "$NAME"
	((${#networks[@]})) || echo "Opening port $port to nobody (--ufw-from would change that)."
	for network in "${networks[@]}"; do
		echo "Opening port $port to $network (--ufw-from would limit that):"
		ufw allow from "$network" to any app "$NAME"
	done
}

# Those that the addresses of this machine belong to, by the routes that come with them.
private_networks() {
	{ ip -4 route && { ! grep -qx 'IPV6=yes' /etc/default/ufw || ip -6 route; }; } |
		awk '/ proto (kernel|dhcp|ra) / && !/ via | linkdown/ { print $1 }' |
		awk '/^(10\.|172\.(1[6-9]|2[0-9]|3[01])\.|192\.168\.|f[cd]).*\//'
}

# Deletes such rules as install.sh adds, but for the networks given. Version 1.0.0 kept its rule in a file.
close_firewall() {
	{ ufw show added | sed -nE "s/^ufw (allow (from \S+ to any app )?$NAME)\$/\1/p" && recalled UFW_RULE; } |
		{ grep -Fxvf <(printf "allow from %s to any app $NAME\n" "$@") || true; } |
		xargs --no-run-if-empty --verbose --max-lines=1 ufw delete
}

# --- Commands ---------------------------------------------------------------------------------------------

# The Python exporter that this one replaces.
replace_old() {
	local unit=ssh_sessions_exporter.service dir=/opt/ssh_sessions
	[[ -e /etc/systemd/system/$unit || -d $dir ]] || return 0
	if given --replace-old; then
		systemctl disable --now "$unit" || true
		rm -rf "/etc/systemd/system/$unit" "/etc/systemd/system/$unit.d" "$dir"
		if has ufw; then ufw delete allow 9122 && ufw delete allow 9122/tcp; fi
		echo "Removed the previous exporter ($unit, $dir, port 9122)."
	else
		echo "warning: the previous exporter is still installed ($unit, $dir); remove it with --replace-old"
	fi
}

check_result() {
	local start=$SECONDS answer
	if systemd_runs; then systemctl start "$NAME.service"; else "/usr/lib/$NAME/run-from-cron"; fi ||
		fail "a run failed; journalctl -u $NAME says why"
	until answer=$(shows_run 2>&1); do
		((SECONDS - start < 20)) ||
			fail "http://$address/metrics does not show ssh_sessions_total: ${answer##*: }; is that the port (--port= finds it), is there TLS, a password, --no-collector.textfile, or another directory than $dir?"
		sleep 1
	done
}

# Whether /metrics shows a run since this script began. The last line that it prints is how node_exporter answers.
shows_run() {
	local host=${address%:*}
	host=${host//[\[\]]/} host=${host/#localhost/127.0.0.1}
	exec 3<>"/dev/tcp/$host/${address##*:}" && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 || return
	timeout 10 tr -d '\r' <&3 | awk -v since="$began" 'NR == 1 { print }
		/^ssh_sessions_exporter_last_run_timestamp_seconds / { last = $2 } END { exit last < since }'
}

# A w that asks systemd-logind, as Debian's does from 4.0.4 on, lists no session that was not made known there.
warn_of_empty_w() {
	local cause=""
	if ! systemctl is-active --quiet systemd-logind; then cause="systemd-logind does not run (masked?)"; fi
	if sshd -T 2>/dev/null | grep -x 'usepam no' >/dev/null; then cause="sshd has UsePAM no"; fi
	if [[ -n $cause ]] && dpkg --compare-versions "$(version_of procps)" ge 2:4.0.4; then
		echo "warning: $cause, so w lists no SSH session; only sshd's processes tell of them (see docs/what-it-sees.md)"
	fi
}

install_all() {
	check_settings
	find_package
	if [[ -z $package ]]; then
		steps=4
		run_step "Building the package from this checkout, by npm, which is installed if it is missing" build_package
	fi
	run_step "Looking for node_exporter" find_destination
	if has ufw; then set_firewall; fi
	systemd_runs || has crond || { apt_install cron && service cron start; } ||
		fail "cron could not be installed and started, for the reason above, and systemd does not run"
	apply_settings # before the package starts the timer
	# QuickJS costs far less to run than Node.js, which may be here for something else. Debian 12 has none.
	run_step "Installing ${package##*/}" apt_install --reinstall --allow-downgrades "$package" \
		'?and(?exact-name(quickjs), ?not(?installed), ?version("^202[4-9]"))'
	replace_old
	! systemd_runs || systemctl --quiet enable --now "$NAME.timer" ||
		fail "cannot start $NAME.timer: see above; if it is masked, systemctl unmask $NAME.timer"
	run_step "Waiting until http://$address/metrics shows the sessions" check_result
	if systemd_runs; then warn_of_empty_w; fi
	cat <<END
Done: $NAME $(version_of "$NAME") is installed.
Every $interval s it writes $dir/ssh_sessions.prom, which http://$address/metrics shows.
Next: have Prometheus scrape it, if it does not yet: targets: ['$(cat /proc/sys/kernel/hostname):${address##*:}']
END
}

uninstall() {
	if has ufw; then close_firewall; fi
	dpkg "--$removal" "$NAME" || fail "dpkg could not remove it, for the reason above"
	rm -rf "/var/cache/$NAME."* # what a killed run has left
	# As the package's own purge does, in case it was never installed.
	[[ $removal == remove ]] || rm -rf "${KEPT%/*}" "/etc/tmpfiles.d/$NAME.conf" "/etc/ufw/applications.d/$NAME"
	[[ $removal == remove ]] || find /etc/systemd/system -path "*/$NAME.*.d*" \( -name install.conf -o -empty \) -delete
}

trap 'fail "interrupted; run it again to finish"' INT TERM HUP
trap 'fail "line $LINENO of install.sh failed: $BASH_COMMAND"' ERR
read_command_line "$@"
((EUID == 0)) || fail "install.sh must run as root; use: sudo ./install.sh $*"
readonly began=$EPOCHSECONDS
if [[ $command == uninstall ]]; then uninstall; else install_all; fi
