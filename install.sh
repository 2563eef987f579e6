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

# What was asked for, kept for the next run. Everything else is found out again each time.
readonly SETTINGS=/etc/$NAME/install.conf
readonly NAMES=(POLL_INTERVAL PORT LOG_LEVEL TEXTFILE_DIR UFW_FROM)

# How the settings reach the program: drop-ins for its units; for cron, a file.
readonly SERVICE_DROP_IN=/etc/systemd/system/$NAME.service.d/install.conf
readonly TIMER_DROP_IN=/etc/systemd/system/$NAME.timer.d/install.conf
readonly BOOT_CLEANING=/etc/tmpfiles.d/$NAME.conf
readonly CRON_SETTINGS=/etc/$NAME/cron.conf
readonly WRITTEN_BY='# Written by install.sh; run it again to change this.'

# The Python exporter that this one replaces.
readonly OLD_UNIT=ssh_sessions_exporter.service
readonly OLD_DIR=/opt/ssh_sessions
readonly OLD_PORT=9122

usage() {
	cat <<END
Usage: sudo ./install.sh [install | update] [option...]
       sudo ./install.sh uninstall [--purge]

Installs ssh-sessions-exporter and what it needs: the package next to this file or, if there is none, one built
from this checkout.

  install, update       install this version and keep the existing settings
  uninstall             stop and remove it; with --purge, its settings too

Settings, remembered for the next run; an empty value resets one:
  --poll-interval SEC   seconds from one run to the next, 1 to 3600 (default: $DEFAULT_INTERVAL; env POLL_INTERVAL)
  --port PORT           node_exporter's port (default: the one it listens on; env PORT)
  --log-level LEVEL     debug, info, warning or error (default: log only failures; env LOG_LEVEL)
  --textfile-dir DIR    directory to write to (default: the one that node_exporter reads; env TEXTFILE_DIR)
  --ufw-from NETWORK    if ufw is installed: who may connect to node_exporter's port. A network or address, any, or
                        none (default: the private networks that this machine is connected to; env UFW_FROM)
  --no-ufw              the same as --ufw-from none

Not remembered:
  --trust-checkout      install although other accounts could have changed the files next to install.sh
  --replace-old         remove the previous exporter ($OLD_UNIT, $OLD_DIR)
  -h, --help            print this help
END
}

say() {
	printf '%s\n' "$@"
}

fail() {
	trap - ERR
	printf 'error: %s\n' "$1" >&2
	exit "${2:-1}"
}

has() {
	command -v -- "$1" >/dev/null
}

systemd_runs() {
	[[ -d /run/systemd/system ]]
}

# --- Settings asked for -----------------------------------------------------------------------------------

declare -A setting=()
command=install
purge=no
replace_old=no
trust_checkout=no

recall_settings() {
	local name value
	[[ -f $SETTINGS ]] || return 0
	while IFS='=' read -r name value; do
		if [[ " ${NAMES[*]} " == *" $name "* ]]; then setting[$name]=$value; fi
	done <"$SETTINGS"
	# As version 1.0.0 kept --no-ufw, and the rule that it had added.
	if grep -qx UFW=no "$SETTINGS"; then setting[UFW_FROM]=none; fi
	setting[UFW_RULE]=$(sed -n 's/^UFW_RULE=//p' "$SETTINGS")
}

read_command_line() {
	local name help='; see ./install.sh --help'
	for name in "${NAMES[@]}"; do
		if [[ -v $name ]]; then setting[$name]=${!name}; fi
	done
	if (($#)) && [[ $1 != -* ]]; then
		command=$1
		shift
	fi
	while (($#)); do
		case $1 in
		--*=*)
			set -- "${1%%=*}" "${1#*=}" "${@:2}"
			continue
			;;
		--poll-interval | --port | --log-level | --textfile-dir | --ufw-from)
			(($# > 1)) || fail "$1 needs a value$help" 2
			name=${1#--} name=${name//-/_}
			setting[${name^^}]=$2
			shift
			;;
		--no-ufw) setting[UFW_FROM]=none ;;
		--purge) purge=yes ;;
		--replace-old) replace_old=yes ;;
		--trust-checkout) trust_checkout=yes ;;
		-h | --help)
			usage
			exit
			;;
		*) fail "$1 is unknown$help" 2 ;;
		esac
		shift
	done
	[[ $command == @(install|update|uninstall) ]] || fail "$command is unknown$help" 2
	[[ $purge == no || $command == uninstall ]] || fail "--purge goes with uninstall$help" 2
}

check_settings() {
	local interval=${setting[POLL_INTERVAL]:-$DEFAULT_INTERVAL} port=${setting[PORT]:-1} level=${setting[LOG_LEVEL]:-}
	local dir=${setting[TEXTFILE_DIR]:-} from=${setting[UFW_FROM]:-none}
	[[ $interval =~ ^[1-9][0-9]{0,3}$ && $interval -le 3600 ]] ||
		fail "POLL_INTERVAL is '$interval'; give a whole number of seconds from 1 to 3600"
	[[ $interval == "$DEFAULT_INTERVAL" ]] || systemd_runs ||
		fail "POLL_INTERVAL is '$interval', but without systemd cron runs every $DEFAULT_INTERVAL s; leave it out"
	[[ $port =~ ^[1-9][0-9]{0,4}$ && $port -le 65535 ]] || fail "PORT is '$port'; give a number from 1 to 65535"
	[[ ${level,,} =~ ^(debug|info|warning|error)?$ ]] || fail "LOG_LEVEL is '$level'; give debug, info, warning or error"
	setting[LOG_LEVEL]=${level,,}
	if [[ -n $dir ]]; then check_directory "$dir" "TEXTFILE_DIR is '$dir'"; fi
	[[ $from == none ]] || has ufw || fail "--ufw-from needs ufw, which is not installed; install it, or give --ufw-from ''"
	[[ $from == @(any|none) ]] || { [[ $from =~ ^[0-9a-fA-F.:]+(/[0-9]+)?$ ]] && ufw --dry-run allow from "$from" &>/dev/null; } ||
		fail "--ufw-from is '$from'; give a network such as 192.168.1.0/24 or fd00::/8, or any, or none"
	for dir in /etc /usr /var; do
		[[ -w $dir ]] || fail "$dir cannot be written; is the file system mounted read-only? (mount -o remount,rw /)"
	done
}

# Arguments: directory, what to call it.
check_directory() {
	[[ $1 =~ ^/[A-Za-z0-9._/+@:~-]*$ ]] ||
		fail "$2; give an absolute path of letters, digits and ._/+@:~-, as systemd's settings need it"
	[[ -d $1 ]] || fail "$2, which does not exist; create it (mkdir -p $1), or name another directory"
	[[ -w $1 ]] || fail "$2, which cannot be written; is the file system mounted read-only?"
	# Both systemd and a shell read this name.
	[[ $(stat -c %U "$1") =~ ^[a-z0-9._-]+$ ]] ||
		fail "$2, whose owner has no plain name; give it to another user (chown root $1)"
}

# --- Steps ------------------------------------------------------------------------------------------------

work=
ticker=
step=0
steps=2

# Not below /tmp or /var/tmp: what is built and installed here must be out of other accounts' reach.
make_work_directory() {
	local reachable
	work=$(mktemp -d -p "$(readlink -f /var/cache)" "$NAME.XXXXXX") || fail "cannot write to /var/cache; free some space"
	trap 'kill $ticker 2>/dev/null || true; rm -rf "$work"' EXIT
	trap 'fail "interrupted; run it again to finish"' INT TERM HUP
	reachable=$(changeable 0 0 "$work")
	[[ -z $reachable ]] || fail "others than root can write to $reachable; give it to root alone (chown root $reachable; chmod go-w $reachable)"
	chmod 711 "$work" # apt's own account reads the package here.
	export TMPDIR=$work
}

# Runs a command that can take minutes: says what it does, how far it is, and how long it took.
run_step() {
	local start=$SECONDS
	say "[$((++step))/$steps] $1 ..."
	while sleep 15 &>/dev/null; do say "    $((SECONDS - start)) s: $(last_lines 1)"; done &
	ticker=$!
	if ! quietly "${@:2}"; then
		last_lines 12 >&2
		fail "that step failed, for the reason above; check the network and /etc/apt, and run this again"
	fi
	kill "$ticker"
	wait "$ticker" 2>/dev/null || true
	say "    done in $((SECONDS - start)) s"
}

quietly() {
	"$@" >"$work/log" 2>&1 </dev/null
}

# Prints the end of the log: a few lines, not too long, of printable characters.
last_lines() {
	tail -n "$1" "$work/log" | tr -cd '[:print:]\n' | cut -c 1-160
}

# --- Packages ---------------------------------------------------------------------------------------------

# Finishes what was interrupted. Gets new package lists only if those at hand do not do.
install_packages() {
	if [[ -n $(dpkg --audit) ]]; then dpkg --configure -a || true; fi
	apt_get check || apt_get --fix-broken install || (apt_get update && apt_get --fix-broken install)
	apt_get install "$@" || (apt_get update && apt_get install "$@")
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get --yes --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Argument: a package. Prints nothing if it is not installed.
installed_version() {
	dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null | sed -n 's/^installed //p' || true
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
version=
package=

# Sets `package` to the .deb to install or, if it has to be built, `version` alone.
find_package() {
	local beside=("$here/${NAME}"_*_all.deb) checkout=$here/package.json
	if [[ -f $checkout ]]; then
		version=$(sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$checkout")
		beside=("$here/${NAME}_${version/-/"~"}_all.deb")
	fi
	if [[ ${#beside[@]} -gt 0 && -f ${beside[-1]} ]]; then
		package=${beside[-1]}
		check_owners "$package"
		dpkg-deb --field "$package" Version >/dev/null 2>&1 ||
			fail "${package##*/} is damaged; download it again, or delete it to have it built"
		if [[ -n $version ]]; then say "Taking the package next to install.sh. Delete it to have this checkout built."; fi
	elif [[ -n $version ]]; then
		check_owners "$here"
	else
		fail "there is neither a package next to install.sh nor a checkout to build it from; download both"
	fi
}

# Whoever can change these files, or replace a directory above them, could have anything done as root.
check_owners() {
	local mine=${SUDO_UID:-0} group=0 path
	[[ $trust_checkout == no ]] || return 0
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

check_node() {
	local needed found
	needed=$(sed -n 's/^ *"node": *">=\([0-9.]*\)".*/\1/p' "$here/package.json")
	found=$(node --version) || fail "/usr/bin/node does not run; reinstall it (apt-get install --reinstall nodejs)"
	dpkg --compare-versions "${found#v}" ge "$needed" ||
		fail "Node.js $needed or later is needed to build, and /usr/bin/node is $found; install a newer nodejs, or the .deb of a release"
}

# In a copy, because root must leave no files in a user's checkout. `npm run` would put node_modules/.bin of every directory
# above in front of PATH; npm's other ways to be told what to do are closed one by one.
build_package() {
	local source=$work/source
	mkdir -m 700 "$source" &&
		tar -C "$here" --exclude=./.git --exclude=./node_modules --exclude=./build --exclude=./dist -cf - . |
		tar -C "$source" --no-same-owner --no-same-permissions -xf - &&
		in_source npm ci --prefix="$source" --no-workspaces --userconfig="$source/build/none" --globalconfig="$source/build/nothing" \
			--cache="$source/build/npm" --ignore-scripts --omit=optional --no-audit --no-fund --no-update-notifier &&
		in_source node scripts/build.js && in_source node packaging/build.js &&
		mv "$source/${NAME}_"*_all.deb "$work"
}

# Only what reaching the npm registry may need is taken from the caller's environment.
in_source() {
	local name environment=(PATH="$PATH" HOME="$work/source" TMPDIR="$work/source" LC_ALL=C.UTF-8)
	for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY NODE_EXTRA_CA_CERTS npm_config_registry; do
		if [[ -v $name ]]; then environment+=("$name=${!name}"); fi
	done
	env -i -C "$work/source" "${environment[@]}" "$@"
}

# --- node_exporter ----------------------------------------------------------------------------------------

exporters=()
reported=

# Sets `exporters` to the process IDs of node_exporter on this machine. Only root may have started it: the service runs as
# the owner of the directory that it names, and the firewall is opened for its port.
find_exporters() {
	local process program
	exporters=()
	for process in /proc/[0-9]*; do
		program=$(readlink "$process/exe") || continue
		if [[ $program =~ /(prometheus-node-exporter|node_exporter)( \(deleted\))?$ ]] &&
			started_by_root "${process#/proc/}" "$program"; then exporters+=("${process#/proc/}"); fi
	done
	((${#exporters[@]}))
}

# Arguments: process ID, its program. The path alone proves nothing: in a namespace of its own a process can have any.
started_by_root() {
	local process=/proc/$1 unit shown believed=no why
	[[ $(sed -n 's/^NSpid:\t//p' "$process/status") == "$1" ]] || return # a container's
	unit=$(sed -n '/^\(0:\|1:name=systemd\):.*\/\([^/]*\.service\)$/ { s//\2/p; q }' "$process/cgroup")
	if [[ ! $process/exe -ef $2 ]]; then
		why="its program was replaced"
	elif [[ -n $(changeable 0 0 "$2") ]]; then
		why="others than root can change its program"
	elif [[ $(sed -n 's/^Uid:\t//p' "$process/status") == $'0\t0\t0\t0' ]]; then
		believed=yes why="root runs it"
	elif shown=$(systemctl show --property=MainPID,ExecStart -- "$unit" 2>/dev/null) &&
		[[ $'\n'$shown$'\n' == *$'\n'MainPID="$1"$'\n'* && $shown =~ ExecStart=\{\ path=([^ ]+)\ \; && ${BASH_REMATCH[1]} -ef $2 ]]; then
		believed=yes why="the system runs it as $unit"
	elif ! systemd_runs && [[ $(stat -c %U "$process") == prometheus ]]; then
		believed=yes why="prometheus runs it"
	else
		why="it is no service of the system"
	fi
	if [[ $believed == no && $reported != *" $1 "* ]]; then
		say "warning: process $1 (${2@Q}) is not taken for node_exporter: $why. To use it, give both --textfile-dir and --port" >&2
	elif [[ ${setting[LOG_LEVEL]:-} == debug && $reported != *" $1 "* ]]; then
		say "debug: process $1 (${2@Q}) is node_exporter: root alone can change its program, and $why" >&2
	fi
	reported+=" $1 "
	[[ $believed == yes ]]
}

# Arguments: process ID, option. Prints its values, one per line.
values() {
	tr '\0' '\n' <"/proc/$1/cmdline" | sed -n "s/^--$2=//p; /^--$2\$/{ n; p }"
}

# Argument: process ID. Prints the directories that this node_exporter reads, one per line.
textfile_directories() {
	local dirs pattern
	mapfile -t dirs < <(values "$1" collector.textfile.directory)
	if ((${#dirs[@]} == 0)) && [[ $(readlink "/proc/$1/exe") == */prometheus-node-exporter ]]; then
		dirs=("$DEFAULT_DIR") # the default of Debian's build
	fi
	for pattern in "${dirs[@]}"; do
		[[ $pattern == /* ]] || pattern=$(readlink "/proc/$1/cwd")/$pattern
		compgen -G "${pattern%/}" || say "${pattern%/}" # newer releases accept patterns
	done
}

dir=
address=

# Sets `dir` and `address`: where to write, and where to look for the result.
find_destination() {
	local read_dirs pid listened port=${setting[PORT]:-}
	dir=${setting[TEXTFILE_DIR]:-}
	dir=${dir%/}
	address=localhost:${port:-9100}
	if [[ -n $dir && -n $port ]]; then return; fi
	if ((${#exporters[@]} == 0)); then
		quietly service prometheus-node-exporter start || true
		wait_for find_exporters || fail "no node_exporter runs as a service of the system (systemctl status prometheus-node-exporter); for one that runs otherwise, give both --textfile-dir and --port"
	fi
	for pid in "${exporters[@]}"; do
		[[ $(facts "$pid") == "$(facts "${exporters[0]}")" ]] ||
			fail "node_exporter runs more than once, and differently (processes ${exporters[*]}); choose one with both --textfile-dir and --port"
	done
	mapfile -t read_dirs < <(textfile_directories "$pid")
	dir=${dir:-${read_dirs[0]:-}}
	[[ -n $dir ]] ||
		fail "node_exporter (process $pid) reads no textfile directory; start it with --collector.textfile.directory=$DEFAULT_DIR, and run this again"
	[[ " ${read_dirs[*]} " == *" $dir "* ]] ||
		fail "node_exporter reads ${read_dirs[*]}, and not $dir; leave TEXTFILE_DIR out, or start node_exporter with --collector.textfile.directory=$dir"
	check_directory "$dir" "node_exporter reads the textfile directory $dir"
	while read -r listened; do
		if [[ ${listened##*:} == "${port:=${listened##*:}}" ]]; then address=$listened; fi
	done < <(values "$pid" web.listen-address)
	case $address in :* | 0.0.0.0:* | \[::\]:*) address=localhost:${address##*:} ;; esac
}

facts() {
	textfile_directories "$1"
	values "$1" web.listen-address
}

# Waits up to 15 s for a command to succeed.
wait_for() {
	local start=$SECONDS
	until "$@"; do
		((SECONDS - start < 15)) || return
		sleep 0.5
	done
}

# --- Settings ---------------------------------------------------------------------------------------------

apply_settings() {
	local name
	for name in "${NAMES[@]}"; do
		if [[ -n ${setting[$name]:-} ]]; then say "$name=${setting[$name]}"; fi
	done | replace "$SETTINGS"
	if systemd_runs; then
		service_drop_in | replace "$SERVICE_DROP_IN" '[Service]'
		timer_drop_in | replace "$TIMER_DROP_IN" '[Timer]'
		systemctl daemon-reload
	fi
	cron_settings | replace "$CRON_SETTINGS"
	remove_earlier_file
	if [[ $dir != "$DEFAULT_DIR" ]]; then say "r! $dir/ssh_sessions.prom"; fi | replace "$BOOT_CLEANING"
}

# Written to another directory, which node_exporter may go on reading.
remove_earlier_file() {
	local file=$DEFAULT_DIR/ssh_sessions.prom
	if [[ -f $BOOT_CLEANING ]]; then file=$(sed -n 's/^r! //p' "$BOOT_CLEANING"); fi
	[[ $file != "$dir/ssh_sessions.prom" ]] || return 0
	# A run that has begun would write it once more.
	if systemd_runs; then quietly systemctl stop "$NAME.timer" "$NAME.service" || true; fi
	rm -f "$file"
}

# Root without capabilities can write only where root owns the directory.
service_drop_in() {
	local owner level=${setting[LOG_LEVEL]:-}
	owner=$(stat -c %U "$dir")
	if [[ $dir != "$DEFAULT_DIR" ]]; then say "Environment=SSH_SESSIONS_OUTPUT=$dir/ssh_sessions.prom" "ReadWritePaths=$dir"; fi
	case $dir/ in
	/home/* | /root/* | /run/user/*) say "ProtectHome=read-only" ;;
	/tmp/* | /var/tmp/*) say "PrivateTmp=no" ;;
	esac
	# The group is for sshd's log.
	if [[ $owner != root ]]; then say "User=$owner" "SupplementaryGroups=systemd-journal"; fi
	if [[ -n $level ]]; then say "Environment=LOG_LEVEL=$level"; fi
	# Otherwise the journal drops what is asked for.
	if [[ $level == @(debug|info) ]]; then say "LogLevelMax=$level"; fi
}

# A time of the calendar, as in the unit, does not drift, but not every interval can be written as one.
timer_drop_in() {
	local interval=${setting[POLL_INTERVAL]:-$DEFAULT_INTERVAL}
	[[ $interval == "$DEFAULT_INTERVAL" ]] || say OnCalendar= "OnUnitActiveSec=${interval}s"
}

cron_settings() {
	say "SSH_SESSIONS_OUTPUT=$dir/ssh_sessions.prom" "RUN_AS=$(stat -c %U "$dir")"
	if [[ -n ${setting[LOG_LEVEL]:-} ]]; then say "LOG_LEVEL=${setting[LOG_LEVEL]}"; fi
}

# Writes standard input to a file, below $2, in one step; removes the file if there is nothing to write.
replace() {
	local lines
	lines=$(cat)
	if [[ -n $lines ]]; then
		mkdir -p "${1%/*}"
		printf '%s\n' "$WRITTEN_BY" ${2+"$2"} "$lines" >"$1.new" || fail "cannot write $1; free some space, and run this again"
		mv -f "$1.new" "$1"
	else
		rm -f "$1"
		if [[ $1 == *.d/install.conf && -d ${1%/*} ]]; then rmdir --ignore-fail-on-non-empty "${1%/*}"; fi
	fi
}

# --- Firewall ---------------------------------------------------------------------------------------------

# Has ufw allow what is asked for, and no longer what an earlier run added. Its own comments tell which rules that is.
set_firewall() {
	local port=${address##*:} from=${setting[UFW_FROM]:-} wanted=() rule
	case $from in
	none) ;;
	any) wanted=("allow $port/tcp") ;;
	'') mapfile -t wanted < <(private_networks | sed "s|.*|allow from & to any port $port proto tcp|") ;;
	*) wanted=("allow from $from to any port $port proto tcp") ;;
	esac
	remove_rules "${wanted[@]}"
	for rule in "${wanted[@]}"; do
		if ufw show added | grep -Fx -e "ufw $rule" -e "ufw $rule comment '$NAME'" >/dev/null; then
			say "The firewall has: ufw $rule"
		else
			# shellcheck disable=SC2086 # a rule is several words
			quietly ufw $rule comment "$NAME" || fail "ufw refused '$rule': $(last_lines 1); try it by hand, or give --no-ufw"
			say "Added to the firewall: ufw $rule"
		fi
	done
	if [[ -z $from ]]; then
		say "Private networks of this machine that may connect to port $port: ${#wanted[@]}. To open it to one address only: sudo ./install.sh --ufw-from ADDRESS"
	fi
}

# Those that the addresses of this machine belong to, by the routes that come with them.
private_networks() {
	local private='10\.[0-9.]+/([89]|[1-3][0-9])|172\.(1[6-9]|2[0-9]|3[01])\.[0-9.]+/(1[2-9]|[23][0-9])|192\.168\.[0-9.]+/(1[6-9]|[23][0-9])'
	if grep -qx 'IPV6=yes' /etc/default/ufw; then private+='|f[cd][0-9a-f:]+/([789]|[1-9][0-9]+)'; fi
	{ ip -4 route show && ip -6 route show; } | awk '/ proto (kernel|dhcp|ra) / && !/ via | linkdown/ { print $1 }' |
		grep -Ex "$private" | sort -u || true
}

# Removes the rules that install.sh has added, but for those given.
remove_rules() {
	local rule
	while read -r rule; do
		[[ $'\n'$(say "$@")$'\n' != *$'\n'"$rule"$'\n'* ]] || continue
		# shellcheck disable=SC2086 # a rule is several words
		quietly ufw delete $rule || fail "ufw could not delete '$rule': $(last_lines 1)"
		say "Removed from the firewall: ufw $rule"
	done < <(ufw show added | sed -n "s/^ufw \(.*\) comment '$NAME'\$/\1/p; s|^ufw \(${setting[UFW_RULE]:--}\)\$|\1|p")
}

# --- The exporter of before -------------------------------------------------------------------------------

look_for_old() {
	local port
	systemctl cat "$OLD_UNIT" &>/dev/null || [[ -d $OLD_DIR ]] || return 0
	if [[ $replace_old == no ]]; then
		say "warning: the previous exporter is still installed ($OLD_UNIT, $OLD_DIR) and exports the same metric names; remove it with --replace-old"
		return
	fi
	quietly systemctl disable --now "$OLD_UNIT" || true
	rm -rf {/etc,/lib,/usr/lib}"/systemd/system/$OLD_UNIT" "/etc/systemd/system/$OLD_UNIT.d" "$OLD_DIR"
	if systemd_runs; then systemctl daemon-reload; fi
	for port in "$OLD_PORT" "$OLD_PORT/tcp"; do
		if has ufw; then quietly ufw delete allow "$port" || true; fi
	done
	say "Removed the previous exporter ($OLD_UNIT, $OLD_DIR, port $OLD_PORT)."
}

# --- Start and check --------------------------------------------------------------------------------------

start_runs() {
	if systemd_runs; then
		if ! quietly systemctl enable "$NAME.timer" || ! quietly systemctl restart "$NAME.timer"; then
			fail "cannot start $NAME.timer: $(last_lines 1); if it is masked: systemctl unmask $NAME.timer"
		fi
	else
		pgrep -x 'cron|crond' >/dev/null || quietly service cron start || true
		pgrep -x 'cron|crond' >/dev/null || fail "neither systemd nor cron runs; start cron, and run this again"
	fi
}

check_result() {
	local file=$dir/ssh_sessions.prom start=$SECONDS why run=(systemctl start "$NAME.service")
	systemd_runs || run=("/usr/lib/$NAME/run-from-cron")
	say "[$((++step))/$steps] Waiting until http://$address/metrics shows the sessions ..."
	if ! quietly "${run[@]}"; then
		journalctl --sync &>/dev/null || true
		why=$(journalctl -u "$NAME" --since "@$started" -o cat | grep -m1 -E '^error: |exited' | tr -cd '[:print:]') || why=$(last_lines 1)
		fail "a run failed: ${why#error: } (more: journalctl -u $NAME)"
	fi
	[[ -f $file && $(stat -c %Y "$file") -ge $started ]] ||
		fail "the run succeeded but did not update $file; does ARGS in /etc/default/$NAME name another file?"
	until shows_sessions; do
		((SECONDS - start < 20)) || fail "http://$address/metrics does not show ssh_sessions_total: $(last_lines 1)"
		sleep 1
	done
	say "    done in $((SECONDS - start)) s"
}

# Whether /metrics shows what was written after this script began. If not, the last line of the log says why.
shows_sessions() {
	local host=${address%:*} page=$work/page
	host=${host#[} host=${host%]}
	# shellcheck disable=SC2016 # the inner shell expands these
	quietly timeout 10 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 && head -c 100M <&3 >"$2"' \
		"${host/#localhost/127.0.0.1}" "${address##*:}" "$page" || return
	if ! grep -q '^HTTP/1\.. 200' "$page"; then
		say "it answers '$(head -n1 "$page")'; does it need TLS or a password?" >"$work/log"
	elif ! grep -q '^ssh_sessions_total ' "$page"; then
		say "the page has no such line; is node_exporter's textfile collector switched off (--no-collector.textfile)? See its log" >"$work/log"
	elif ! awk -v since="$started" '/^ssh_sessions_exporter_last_run_timestamp_seconds / { last = $2 } END { exit last < since }' "$page"; then
		say "what it shows is old; does node_exporter read another directory than $dir?" >"$work/log"
	else
		return 0
	fi
	return 1
}

# A w that asks systemd-logind, as Debian's does from 4.0.4 on, lists no session that was not made known there.
warn_of_empty_w() {
	local cause
	dpkg --compare-versions "$(installed_version procps)" ge 2:4.0.4 || return 0
	if ! systemctl is-active --quiet systemd-logind; then
		cause="systemd-logind does not run (masked?)"
	elif sshd -T 2>/dev/null | grep -x 'usepam no' >/dev/null; then
		cause="sshd has UsePAM no"
	else
		return 0
	fi
	say "warning: $cause, so w lists no SSH session. They are exported from sshd's processes, without the times of login and idling, the CPU times and the command"
}

# --- Commands ---------------------------------------------------------------------------------------------

install_all() {
	local before missing=() runner="systemd timer"
	check_settings
	make_work_directory
	before=$(installed_version "$NAME")
	find_package
	[[ -n ${setting[TEXTFILE_DIR]:-} && -n ${setting[PORT]:-} ]] || find_exporters || has prometheus-node-exporter || missing+=(prometheus-node-exporter)
	systemd_runs || has cron || has crond || missing+=(cron)
	! has ufw || has ip || missing+=(iproute2)
	if ((${#missing[@]})); then ((++steps)); fi
	if [[ -z $package ]]; then
		((++steps))
		if ! has node || ! has npm; then
			((++steps))
			run_step "Installing nodejs and npm, to build the package with" install_packages nodejs npm
			quietly apt-mark auto nodejs npm || true # what the package needs of them, it depends on
		fi
		check_node
		run_step "Building the package from this checkout" build_package
		package=$(compgen -G "$work/${NAME}_*_all.deb")
	fi
	if ((${#missing[@]})); then run_step "Installing ${missing[*]}" install_packages "${missing[@]}"; fi
	find_destination
	if has ufw; then set_firewall; fi
	apply_settings # before the package starts the timer
	install -m 644 "$package" "$work/$NAME.deb"
	run_step "Installing ${package##*/}" install_packages --reinstall --allow-downgrades "$work/$NAME.deb"
	look_for_old
	start_runs
	check_result
	systemd_runs || runner=cron
	say "Done: $NAME $(installed_version "$NAME") is installed${before:+ (before: $before)}."
	say "Every ${setting[POLL_INTERVAL]:-$DEFAULT_INTERVAL} s ($runner) it writes $dir/ssh_sessions.prom, which http://$address/metrics shows."
	if systemd_runs; then warn_of_empty_w; fi
	say "Next: add this machine to the scrape_configs of Prometheus, if it is not there:"
	say "  - job_name: node" "    static_configs: [{ targets: ['$(cat /proc/sys/kernel/hostname):${address##*:}'] }]"
}

uninstall() {
	local how=remove
	if [[ $purge == yes ]]; then how=purge; fi
	make_work_directory
	if has ufw; then remove_rules; fi
	if dpkg-query --show "$NAME" &>/dev/null; then
		quietly dpkg "--$how" "$NAME" || fail "dpkg could not remove it: $(last_lines 1)"
		if [[ $how == remove ]]; then say "Removed $NAME. Its settings are kept; ./install.sh uninstall --purge deletes them."; fi
		if [[ $how == purge ]]; then say "Removed $NAME and its settings."; fi
	else
		say "$NAME is not installed; nothing to remove."
	fi
	rm -rf "/var/cache/$NAME."* # of this run, and of any that was killed
	say "node_exporter was kept; 'apt-get autoremove' removes what nothing else needs."
}

trap 'fail "line $LINENO of install.sh failed: $BASH_COMMAND; please report it"' ERR
recall_settings
read_command_line "$@"
((EUID == 0)) || fail "install.sh must run as root; use: sudo ./install.sh $*"
readonly started=$EPOCHSECONDS
has apt-get || fail "this machine has no apt-get; install.sh is for Debian and its derivatives"
if [[ $command == uninstall ]]; then uninstall; else install_all; fi
