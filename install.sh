#!/bin/bash
# Installs ssh-sessions-exporter on a Debian machine, and everything that its metrics need to show up on
# node_exporter's /metrics page. Safe to run again at any time.
set -Eeuo pipefail
shopt -s inherit_errexit nullglob extglob
umask 022
# The words of apt and dpkg are read here; LANGUAGE would win over LC_ALL.
export LC_ALL=C.UTF-8
unset LANGUAGE

readonly NAME=ssh-sessions-exporter
readonly DEFAULT_INTERVAL=15
readonly DEFAULT_DIR=/var/lib/prometheus/node-exporter
readonly DEFAULT_PORT=9100

# What the user asked for, kept for the next run. All else is found out anew each time.
readonly SETTINGS=/etc/$NAME/install.conf
readonly NAMES=(POLL_INTERVAL PORT LOG_LEVEL TEXTFILE_DIR UFW UFW_FROM UFW_RULE)

# How the settings reach the program: drop-ins of its units, or for cron a file of its own.
readonly SERVICE_DROP_IN=/etc/systemd/system/$NAME.service.d/install.conf
readonly TIMER_DROP_IN=/etc/systemd/system/$NAME.timer.d/install.conf
readonly BOOT_CLEANING=/etc/tmpfiles.d/$NAME.conf
readonly CRON_SETTINGS=/etc/$NAME/cron.conf
readonly WRITTEN_BY='# Written by install.sh, and overwritten when it runs again.'

# The exporter that this one takes the place of.
readonly OLD_UNIT=ssh_sessions_exporter.service
readonly OLD_DIR=/opt/ssh_sessions
readonly OLD_PORT=9122

usage() {
	cat <<EOF
Usage: sudo ./install.sh [install | update] [option...]
       sudo ./install.sh uninstall [--purge]

Shows the SSH sessions of this machine on node_exporter's /metrics page. Installs what is missing for it
(Node.js, w, prometheus-node-exporter) and the package beside this file; where there is none, builds it.

  install, update       the same: install this version, keep the settings of before
  uninstall             stop and remove it; keep its settings, unless --purge is given

Options; each is remembered, and an empty value takes it back:
  --poll-interval SEC   seconds from one run to the next, 1 to 3600 (default: $DEFAULT_INTERVAL; env POLL_INTERVAL)
  --port PORT           node_exporter's port, for the check and for ufw (default: the one it listens on,
                        else $DEFAULT_PORT; env PORT)
  --log-level LEVEL     debug, info, warning or error (default: only failures are logged; env LOG_LEVEL)
  --textfile-dir DIR    directory to write to (default: the one that node_exporter reads; env TEXTFILE_DIR)
  --ufw                 where ufw is installed, have it let anyone connect to PORT/tcp (the default)
  --ufw-from CIDR       let this network alone connect
  --no-ufw              leave the firewall as it is

Not remembered:
  --replace-old         stop and remove the exporter of before ($OLD_UNIT, $OLD_DIR)
  -h, --help            print this help
EOF
}

readonly TOLD=99 # the status of a subshell that has said what is wrong

fail() {
	trap - ERR
	printf 'error: %s\n' "$*" >&2
	((BASH_SUBSHELL)) && exit $TOLD
	exit 1
}

# Arguments: status, line, command.
unforeseen() {
	if (($1 == TOLD)); then exit 1; fi
	fail "line $2 of install.sh failed: $3; please report it"
}

wrong_usage() {
	printf 'error: %s; see ./install.sh --help\n' "$*" >&2
	exit 2
}

say() {
	printf '%s\n' "$*"
}

# --- What is asked for ------------------------------------------------------------------------------------

declare -A setting=() given=()
command=install
purge=no
replace_old=no

read_command_line() {
	local name
	for name in POLL_INTERVAL PORT LOG_LEVEL TEXTFILE_DIR; do
		if [[ -v $name ]]; then given[$name]=${!name}; fi
	done
	if (($#)) && [[ $1 != -* ]]; then
		command=$1
		shift
	fi
	while (($#)); do
		case $1 in
		--*=*)
			set -- "${1%%=*}" "${1#*=}" "${@:2}"
			[[ $1 == --@(poll-interval|port|log-level|textfile-dir|ufw-from) ]] || wrong_usage "$1 takes no value"
			;;
		esac
		case $1 in
		--poll-interval | --port | --log-level | --textfile-dir | --ufw-from)
			(($# > 1)) || wrong_usage "$1 needs a value"
			name=${1#--} name=${name//-/_}
			given[${name^^}]=$2
			if [[ $1 == --ufw-from ]]; then given[UFW]=yes; fi
			shift
			;;
		--ufw) given[UFW]=yes given[UFW_FROM]='' ;;
		--no-ufw) given[UFW]=no given[UFW_FROM]='' ;;
		--purge) purge=yes ;;
		--replace-old) replace_old=yes ;;
		-h | --help)
			usage
			exit
			;;
		*) wrong_usage "$1 is unknown" ;;
		esac
		shift
	done
	case $command in
	install | update) [[ $purge == no ]] || wrong_usage "--purge goes with uninstall" ;;
	uninstall) [[ $replace_old == no ]] || wrong_usage "--replace-old does not go with uninstall" ;;
	*) wrong_usage "$command is unknown" ;;
	esac
}

recall_settings() {
	local name value
	if [[ -f $SETTINGS ]]; then
		while IFS='=' read -r name value; do
			if [[ " ${NAMES[*]} " == *" $name "* ]]; then setting[$name]=$value; fi
		done <"$SETTINGS"
	fi
}

take_given_settings() {
	local name
	for name in "${!given[@]}"; do setting[$name]=${given[$name]}; done
}

remember_settings() {
	local name
	{
		say '# What install.sh was asked for; run it again to change this.'
		for name in "${NAMES[@]}"; do
			if [[ -n ${setting[$name]:-} ]]; then say "$name=${setting[$name]}"; fi
		done
	} | replace "$SETTINGS"
}

check_settings() {
	local interval=${setting[POLL_INTERVAL]:-$DEFAULT_INTERVAL} port=${setting[PORT]:-$DEFAULT_PORT}
	local dir=${setting[TEXTFILE_DIR]:-} level=${setting[LOG_LEVEL]:-}
	[[ $interval =~ ^[1-9][0-9]{0,3}$ && $interval -le 3600 ]] ||
		fail "POLL_INTERVAL is '$interval'; give a whole number of seconds from 1 to 3600"
	[[ $interval == "$DEFAULT_INTERVAL" ]] || systemd_runs ||
		fail "POLL_INTERVAL is '$interval', and without systemd cron runs every $DEFAULT_INTERVAL s; leave it out"
	[[ $port =~ ^[1-9][0-9]{0,4}$ && $port -le 65535 ]] ||
		fail "PORT is '$port'; give a number from 1 to 65535"
	[[ ${level,,} =~ ^(debug|info|warning|error)?$ ]] ||
		fail "LOG_LEVEL is '$level'; give debug, info, warning or error"
	setting[LOG_LEVEL]=${level,,}
	if [[ -n $dir ]]; then check_directory "$dir" "TEXTFILE_DIR is '$dir'"; fi
	check_network "${setting[UFW_FROM]:-}"
}

# Arguments: directory, what to call it.
check_directory() {
	[[ $1 =~ ^/[A-Za-z0-9._/+@:~-]*$ ]] ||
		fail "$2; give an absolute path of letters, digits and ._/+@:~-, as the settings of systemd need it"
	[[ -d $1 ]] || fail "$2, which does not exist; create it (mkdir -p $1), or name another directory"
	[[ -w $1 ]] || fail "$2, which cannot be written; is that disk mounted read-only?"
	id -- "$(stat -c %U "$1")" >/dev/null 2>&1 ||
		fail "$2, whose owner has no name; give it to a user that exists (chown root $1)"
}

check_network() {
	[[ -n $1 ]] || return 0
	local problem="--ufw-from is '$1'; give a network such as 192.168.1.0/24 or fd00::/8"
	[[ $1 =~ ^[0-9a-fA-F.:]+(/[0-9]{1,3})?$ ]] || fail "$problem"
	if has ufw; then
		ufw --dry-run allow from "$1" to any port "$DEFAULT_PORT" proto tcp >/dev/null 2>&1 || fail "$problem"
	elif [[ -v given[UFW_FROM] ]]; then
		fail "--ufw-from needs ufw, which is not installed; leave it out, or install ufw"
	fi
}

check_machine() {
	local dir
	has apt-get dpkg || fail "this machine has no apt-get; install.sh is for Debian and its derivatives"
	for dir in /etc /usr /var; do
		[[ -w $dir ]] || fail "$dir cannot be written; is the disk mounted read-only? (mount -o remount,rw /)"
	done
}

# --- Packages ---------------------------------------------------------------------------------------------

work=

make_work_directory() {
	# Not /tmp, which can be a small part of the memory.
	work=$(mktemp -d -p /var/tmp "$NAME.XXXXXX") || fail "no room in /var/tmp; free some space"
	chmod 755 "$work"
	trap 'rm -rf "$work"' EXIT
	trap 'fail "interrupted; run it again to finish"' INT TERM HUP
}

# Prints nothing; what went wrong is in $work/log.
quietly() {
	"$@" >"$work/log" 2>&1 </dev/null
}

# The first complaint in the log of a failed command, as half of a sentence.
reason() {
	local line
	line=$(grep -m1 -iE '^(E:|npm err(or|!)|error|dpkg: error)' "$work/log" || tail -n1 "$work/log") || true
	say "${line:-it gave no reason}"
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive quietly apt-get --yes --no-install-recommends -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Installs packages by name or path. Asks for new package lists only where something has to be downloaded.
install_packages() {
	local what=("$@")
	finish_interrupted
	if ! apt_get --simulate install "${what[@]}" || grep '^Inst' "$work/log" | grep -qv "^Inst $NAME "; then
		apt_get update || true
		check_node_offered
	fi
	apt_get install --reinstall --allow-downgrades "${what[@]}" ||
		fail "apt-get could not install ${what[*]##*/}: $(reason); check the network and /etc/apt, and run this again"
}

# apt refuses everything while a package is half installed, or lacks one that it depends on.
finish_interrupted() {
	if [[ -n $(dpkg --audit) ]]; then quietly dpkg --configure -a || true; fi
	if ! apt_get check; then
		apt_get update || true
		apt_get --fix-broken --no-remove install || true
	fi
}

check_node_offered() {
	local offered
	offered=$(apt-cache policy nodejs | sed -n 's/^ *Candidate: *//p')
	[[ -z $offered || $offered == '(none)' ]] || dpkg --compare-versions "$offered" ge "$node_needed" ||
		fail "Node.js $node_needed or later is needed, and apt offers $offered; upgrade Debian, or add a source of newer packages"
}

check_node() {
	local found
	found=$(/usr/bin/node --version 2>/dev/null) ||
		fail "/usr/bin/node does not run; reinstall it (apt-get install --reinstall nodejs)"
	dpkg --compare-versions "${found#v}" ge "$node_needed" ||
		fail "Node.js $node_needed or later is needed, and /usr/bin/node is $found; install a newer nodejs package"
}

package=
node_needed=

# Sets `package` to the .deb to install: the one beside this file, or one built from the checkout.
find_package() {
	local here beside version
	here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
	if [[ -f $here/package.json ]]; then
		version=$(json_value version <"$here/package.json")
		node_needed=$(json_value node <"$here/package.json")
		node_needed=${node_needed#>=}
		beside=("$here/${NAME}_${version/-/"~"}_all.deb")
	else
		beside=("$here/${NAME}"_*_all.deb)
	fi
	if [[ ${#beside[@]} -gt 0 && -f ${beside[-1]} ]]; then
		# apt's own user reads it, too.
		install -m 644 "${beside[-1]}" "$work/"
		package=$work/${beside[-1]##*/}
		if [[ -n ${version:-} ]]; then say "Taking the package beside install.sh. Delete it to have this checkout built."; fi
		node_needed=$(dpkg-deb --field "$package" Depends 2>/dev/null | sed -n 's/.*nodejs (>= \([^)]*\)).*/\1/p') ||
			fail "${beside[-1]##*/} is damaged; download it again, or delete it to have it built"
	elif [[ -n ${version:-} ]]; then
		build_package "$here"
	else
		fail "there is neither a package beside install.sh nor a checkout to build it from; download both"
	fi
}

# The value of a name that occurs once in the JSON on standard input, and is a text.
json_value() {
	sed -n "s/^ *\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n1
}

# In a copy: the checkout belongs to a user, and root would leave files there.
build_package() {
	if ! has npm; then
		say "Installing npm, to build the package with ..."
		install_packages npm
		quietly apt-mark auto npm || true
	fi
	check_node
	say "Building the package ..."
	mkdir "$work/source"
	tar -C "$1" --exclude=./.git --exclude=./node_modules --exclude=./build --exclude=./dist -cf - . |
		tar -C "$work/source" --no-same-owner -xf -
	(
		cd "$work/source"
		export npm_config_cache=$work/npm npm_config_update_notifier=false
		quietly npm ci --ignore-scripts --omit=optional --no-audit --no-fund ||
			fail "npm could not get what the build needs: $(reason); check the network, and run this again"
		quietly npm run package || fail "the package could not be built: $(reason)"
	)
	package=$(compgen -G "$work/source/${NAME}_*_all.deb")
}

# --- node_exporter ----------------------------------------------------------------------------------------

exporter=

# Sets `exporter` to the process ID of the node_exporter that runs on this machine (not in a container of it).
find_node_exporter() {
	local process program
	exporter=
	for process in /proc/[0-9]*; do
		program=$(readlink "$process/exe") || continue
		case ${program% (deleted)} in
		*/node_exporter | */prometheus-node-exporter)
			if [[ $(sed -n 's/^NSpid:\t//p' "$process/status") == "${process#/proc/}" ]]; then
				exporter=${process#/proc/}
				return
			fi
			;;
		esac
	done
	return 1
}

start_node_exporter() {
	find_node_exporter && return
	if systemd_runs; then
		quietly systemctl start prometheus-node-exporter || true
	else
		quietly service prometheus-node-exporter start || true
	fi
	wait_for find_node_exporter ||
		fail "node_exporter does not run; see what 'prometheus-node-exporter' prints (systemctl status prometheus-node-exporter)"
}

# Prints the directories that the running node_exporter reads, one a line.
textfile_directories() {
	local arguments index argument enabled=yes dirs=() dir pattern found
	mapfile -d '' -t arguments <"/proc/$exporter/cmdline"
	for index in "${!arguments[@]}"; do
		argument=${arguments[index]}
		case $argument in
		--collector.textfile.directory=*) dirs+=("${argument#*=}") ;;
		--collector.textfile.directory) dirs+=("${arguments[index + 1]:-}") ;;
		--collector.disable-defaults) enabled=no ;;
		esac
	done
	for argument in "${arguments[@]}"; do
		case $argument in
		--collector.textfile) enabled=yes ;;
		--no-collector.textfile) enabled=no ;;
		esac
	done
	[[ $enabled == yes ]] || return 0
	if ((${#dirs[@]} == 0)) && [[ $(readlink "/proc/$exporter/exe") == */prometheus-node-exporter* ]]; then
		dirs=("$DEFAULT_DIR") # Debian's build has it in place of none.
	fi
	for pattern in "${dirs[@]}"; do
		[[ $pattern == /* ]] || pattern=$(readlink "/proc/$exporter/cwd")/$pattern
		# Newer releases take patterns.
		mapfile -t found < <(compgen -G "$pattern" || say "$pattern")
		for dir in "${found[@]}"; do say "${dir%/}"; done
	done
}

# Prints the addresses that the running node_exporter listens on, as in a URL, one a line.
listening_addresses() {
	local sockets=' ' descriptor link address port state inode
	for descriptor in "/proc/$exporter/fd/"*; do
		link=$(readlink "$descriptor") || continue
		if [[ $link == socket:* ]]; then sockets+="${link//[^0-9]/} "; fi
	done
	while read -r _ address _ state _ _ _ _ _ inode _; do
		if [[ $state == 0A && $sockets == *" $inode "* ]]; then
			port=$((16#${address#*:}))
			say "$(readable_address "${address%:*}"):$port"
		fi
	done < <(cat "/proc/$exporter/net/tcp" "/proc/$exporter/net/tcp6" 2>/dev/null)
}

# Argument: an address as /proc/net/tcp has it: words of 32 bits, each with its bytes in the machine's order.
readable_address() {
	local word address=''
	case $1 in
	00000000 | 00000000000000000000000000000000 | ??????7F) say localhost ;;
	????????) say "$((16#${1:6:2})).$((16#${1:4:2})).$((16#${1:2:2})).$((16#${1:0:2}))" ;;
	*)
		for word in "${1:0:8}" "${1:8:8}" "${1:16:8}" "${1:24:8}"; do
			address+=:${word:6:2}${word:4:2}:${word:2:2}${word:0:2}
		done
		say "[${address#:}]"
		;;
	esac
}

dir=
address=

# Sets `dir` and `address`: where to write, and where to look at the result.
find_destination() {
	local read_dirs listened
	start_node_exporter
	mapfile -t read_dirs < <(textfile_directories)
	((${#read_dirs[@]})) ||
		fail "node_exporter (process $exporter) reads no textfile directory; start it with --collector.textfile.directory=$DEFAULT_DIR, and run this again"
	dir=${setting[TEXTFILE_DIR]:-${read_dirs[0]}}
	dir=${dir%/}
	[[ " ${read_dirs[*]} " == *" $dir "* ]] ||
		fail "node_exporter reads ${read_dirs[*]}, and not $dir; leave TEXTFILE_DIR out, or start node_exporter with --collector.textfile.directory=$dir"
	check_directory "$dir" "node_exporter reads the textfile directory $dir"

	wait_for listens || true
	mapfile -t listened < <(listening_addresses)
	address=${listened[0]:-localhost:$DEFAULT_PORT}
	if [[ -n ${setting[PORT]:-} ]]; then
		address=localhost:${setting[PORT]}
		for candidate in "${listened[@]}"; do
			if [[ ${candidate##*:} == "${setting[PORT]}" ]]; then address=$candidate; fi
		done
	fi
}

listens() {
	[[ -n $(listening_addresses) ]]
}

# --- Settings ---------------------------------------------------------------------------------------------

apply_settings() {
	if systemd_runs; then
		service_drop_in | replace_or_remove "$SERVICE_DROP_IN"
		timer_drop_in | replace_or_remove "$TIMER_DROP_IN"
	fi
	cron_settings | replace "$CRON_SETTINGS"
	remove_earlier_file
	if [[ $dir == "$DEFAULT_DIR" ]]; then
		rm -f "$BOOT_CLEANING"
	else
		printf '%s\nr! %s\n' "$WRITTEN_BY" "$dir/ssh_sessions.prom" | replace "$BOOT_CLEANING"
	fi
}

# Of another directory than before: node_exporter may read both.
remove_earlier_file() {
	local file=$DEFAULT_DIR/ssh_sessions.prom
	if [[ -f $BOOT_CLEANING ]]; then file=$(sed -n 's/^r! //p' "$BOOT_CLEANING"); fi
	[[ $file != "$dir/ssh_sessions.prom" ]] || return 0
	# A run that has begun, or does so before systemd reads the new settings, would write there once more.
	if systemd_runs; then quietly systemctl stop "$NAME.timer" "$NAME.service" || true; fi
	rm -f "$file"
}

# Root without capabilities can write only where root owns the directory.
service_drop_in() {
	local owner level=${setting[LOG_LEVEL]:-}
	owner=$(stat -c %U "$dir")
	if [[ $dir != "$DEFAULT_DIR" ]]; then
		say "Environment=SSH_SESSIONS_OUTPUT=$dir/ssh_sessions.prom"
		say "ReadWritePaths=$dir"
	fi
	case $dir/ in
	/home/* | /root/* | /run/user/*) say "ProtectHome=read-only" ;;
	/tmp/* | /var/tmp/*) say "PrivateTmp=no" ;;
	esac
	if [[ $owner != root ]]; then say "User=$owner"; fi
	if [[ -n $level ]]; then say "Environment=LOG_LEVEL=$level"; fi
	# Otherwise the journal drops what is asked for.
	if [[ $level == @(debug|info) ]]; then say "LogLevelMax=$level"; fi
}

timer_drop_in() {
	local interval=${setting[POLL_INTERVAL]:-$DEFAULT_INTERVAL}
	[[ $interval != "$DEFAULT_INTERVAL" ]] || return 0
	say "OnCalendar="
	if ((60 % interval == 0)); then
		say "OnCalendar=*:*:0/$interval"
	elif ((interval % 60 == 0 && 60 % (interval / 60) == 0)); then
		say "OnCalendar=*:0/$((interval / 60))"
	else
		# The clock cannot be divided by it.
		say "OnUnitActiveSec=${interval}s"
	fi
}

cron_settings() {
	say "$WRITTEN_BY"
	say "SSH_SESSIONS_OUTPUT=$dir/ssh_sessions.prom"
	say "RUN_AS=$(stat -c %U "$dir")"
	if [[ -n ${setting[LOG_LEVEL]:-} ]]; then say "LOG_LEVEL=${setting[LOG_LEVEL]}"; fi
}

# Writes standard input to a drop-in for the unit that its path names, or removes the drop-in where that is empty.
replace_or_remove() {
	local lines section=Service
	lines=$(cat)
	if [[ $1 == *.timer.d/* ]]; then section=Timer; fi
	if [[ -n $lines ]]; then
		printf '%s\n[%s]\n%s\n' "$WRITTEN_BY" "$section" "$lines" | replace "$1"
	else
		rm -f "$1"
		if [[ -d ${1%/*} ]]; then rmdir --ignore-fail-on-non-empty "${1%/*}"; fi
	fi
}

# Writes standard input to a file, in one step.
replace() {
	mkdir -p "${1%/*}"
	cat >"$1.new" || fail "cannot write $1; free some space, and run this again"
	chmod 644 "$1.new"
	mv -f "$1.new" "$1"
}

# --- Firewall ---------------------------------------------------------------------------------------------

rule_note=

# Has ufw allow what is asked for, and no longer what an earlier run added.
set_firewall() {
	local port=${address##*:} from=${setting[UFW_FROM]:-} wanted=''
	if has ufw && [[ ${setting[UFW]:-yes} == yes ]]; then
		wanted="allow $port/tcp"
		if [[ -n $from ]]; then wanted="allow from $from to any port $port proto tcp"; fi
	fi
	if [[ ${setting[UFW_RULE]:-} != "$wanted" ]]; then remove_rule; fi
	[[ -n $wanted ]] || return 0
	if ! has_rule "$wanted"; then
		# Noted first, so that a rule is never forgotten.
		setting[UFW_RULE]=$wanted
		remember_settings
		# shellcheck disable=SC2086 # a rule is several words
		quietly ufw $wanted || fail "ufw refused '$wanted': $(reason); run it by hand, or use --no-ufw"
		rule_note="Added to the firewall: ufw $wanted"
	elif [[ ${setting[UFW_RULE]:-} == "$wanted" ]]; then
		rule_note="In the firewall: ufw $wanted"
	else
		rule_note="The firewall had this rule before, and keeps it: ufw $wanted"
	fi
}

has_rule() {
	ufw show added | grep -qFx "ufw $1"
}

remove_rule() {
	local rule=${setting[UFW_RULE]:-}
	[[ -n $rule ]] || return 0
	if has ufw; then
		# shellcheck disable=SC2086 # a rule is several words
		quietly ufw delete $rule || fail "ufw could not delete '$rule': $(reason)"
		say "Removed from the firewall: ufw $rule"
	fi
	setting[UFW_RULE]=
	remember_settings
}

# --- The exporter of before -------------------------------------------------------------------------------

look_for_old() {
	local unit
	unit=$(compgen -G "/@(etc|lib|usr/lib)/systemd/system/$OLD_UNIT" | head -n1) || true
	[[ -n $unit || -d $OLD_DIR ]] || return 0
	if [[ $replace_old == no ]]; then
		say "warning: the exporter of before is installed (${unit:-$OLD_DIR}); both export the same names. --replace-old removes it"
		return
	fi
	if [[ -n $unit ]] && systemd_runs; then
		quietly systemctl disable --now "$OLD_UNIT" || fail "cannot stop $OLD_UNIT: $(reason)"
	fi
	rm -rf "/etc/systemd/system/$OLD_UNIT" "/etc/systemd/system/$OLD_UNIT.d" "/lib/systemd/system/$OLD_UNIT" "$OLD_DIR"
	if systemd_runs; then systemctl daemon-reload; fi
	if has ufw; then
		for rule in "allow $OLD_PORT" "allow $OLD_PORT/tcp"; do
			# shellcheck disable=SC2086 # a rule is several words
			if has_rule "$rule"; then quietly ufw delete $rule || fail "ufw could not delete '$rule': $(reason)"; fi
		done
	fi
	say "Removed the exporter of before ($OLD_UNIT, $OLD_DIR, port $OLD_PORT)."
}

# --- Start and check --------------------------------------------------------------------------------------

start_runs() {
	if systemd_runs; then
		systemctl daemon-reload
		if ! quietly systemctl enable "$NAME.timer" || ! quietly systemctl restart "$NAME.timer"; then
			fail "cannot start $NAME.timer: $(reason); if it is masked: systemctl unmask $NAME.timer"
		fi
	else
		pgrep -x 'cron|crond' >/dev/null || quietly service cron start || true
		pgrep -x 'cron|crond' >/dev/null || fail "neither systemd nor cron runs; start cron, and run this again"
	fi
}

check_result() {
	local file=$dir/ssh_sessions.prom
	local start=$SECONDS
	run_once
	[[ -f $file && $(stat -c %Y "$file") -ge $started ]] ||
		fail "the run ended well, and $file is not fresh; does ARGS in /etc/default/$NAME name another file?"
	until shows_sessions; do
		((SECONDS - start < 20)) || fail "http://$address/metrics does not show ssh_sessions_total: $(reason)"
		sleep 1
	done
}

run_once() {
	local why
	if systemd_runs; then
		quietly systemctl start "$NAME.service" && return
		journalctl --sync || true
		why=$(journalctl -u "$NAME" --since "@$started" -o cat | grep -m1 -E '^error: |exited') || why=$(reason)
	else
		quietly "/usr/lib/$NAME/run-from-cron" && return
		why=$(reason)
	fi
	fail "a run failed: ${why#error: } (more: journalctl -u $NAME)"
}

# Whether /metrics shows what was written after this script began.
shows_sessions() {
	# shellcheck disable=SC2016 # these are not variables of the shell
	local script='
		const request = require("http").get(process.argv[1], { timeout: 10000 }, (response) => {
			if (response.statusCode !== 200) throw new Error(`error: it answers with status ${response.statusCode}`);
			response.pipe(process.stdout);
		});
		request.on("timeout", () => request.destroy(new Error("it does not answer")));
		request.on("error", (error) => {
			console.log(`error: ${error.message}; ${process.argv[2]}`);
			process.exitCode = 1;
		});'
	local host=${address/#localhost:/127.0.0.1:}
	quietly /usr/bin/node -e "$script" "http://$host/metrics" "does node_exporter listen there, without TLS?" || return
	local last
	last=$(sed -n 's/^ssh_sessions_exporter_last_run_timestamp_seconds \(.*\)/\1/p' "$work/log")
	if ! grep -q '^ssh_sessions_total ' "$work/log" || [[ -z $last ]]; then
		say "error: it has no such line; see what node_exporter logs" >"$work/log"
		return 1
	fi
	if ! awk -v last="$last" -v started="$started" 'BEGIN { exit last < started }'; then
		say "error: what it shows is old; does node_exporter read another directory than $dir?" >"$work/log"
		return 1
	fi
}

# --- Commands ---------------------------------------------------------------------------------------------

install_all() {
	local before needed=()
	take_given_settings
	check_settings
	check_machine
	make_work_directory
	before=$(installed_version "$NAME")
	find_package
	has w || needed+=(procps)
	find_node_exporter || has prometheus-node-exporter || needed+=(prometheus-node-exporter)
	systemd_runs || has cron || has crond || needed+=(cron)
	say "Installing ${needed[*]:+${needed[*]} and }${package##*/} ..."
	# What is wrong with the Node.js that is there is found before anything is changed.
	if dpkg --compare-versions "$(installed_version nodejs)" ge "$node_needed"; then check_node; fi
	install_packages "$package" "${needed[@]}"
	check_node
	look_for_old
	find_destination
	remember_settings
	apply_settings
	start_runs
	check_result
	set_firewall
	summarize "$before"
}

summarize() {
	local version runner="systemd timer"
	version=$(installed_version "$NAME")
	systemd_runs || runner=cron
	say "Done: $NAME $version is installed${1:+ (before: $1)}."
	say "Every ${setting[POLL_INTERVAL]:-$DEFAULT_INTERVAL} s ($runner) it writes $dir/ssh_sessions.prom, which http://$address/metrics shows."
	if [[ -n $rule_note ]]; then say "$rule_note"; fi
	say "Next: add this machine to the scrape_configs of Prometheus, if it is not there:"
	say "  - job_name: node"
	say "    static_configs: [{ targets: ['$(hostname 2>/dev/null || cat /etc/hostname):${address##*:}'] }]"
}

uninstall() {
	local state
	make_work_directory
	remove_rule
	state=$(dpkg-query --show --showformat='${db:Status-Status}' "$NAME" 2>/dev/null) || state=not-installed
	if [[ $state == not-installed || ($state == config-files && $purge == no) ]]; then
		say "$NAME is not installed; nothing to remove."
	elif [[ $purge == yes ]]; then
		quietly dpkg --purge "$NAME" || fail "dpkg could not remove it: $(reason)"
		say "Removed $NAME and its settings."
	else
		quietly dpkg --remove "$NAME" || fail "dpkg could not remove it: $(reason)"
		say "Removed $NAME. Its settings are kept; ./install.sh uninstall --purge deletes them."
	fi
	rm -rf "/var/tmp/$NAME."* # of this run, and of those that were killed
	say "node_exporter stays. What nothing else needs, 'apt-get autoremove' removes."
}

# Argument: a package. Prints nothing where it is not installed.
installed_version() {
	local state
	state=$(dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null) || return 0
	if [[ $state == "installed "* ]]; then say "${state#* }"; fi
}

systemd_runs() {
	[[ -d /run/systemd/system ]]
}

# Whether all of these programs are there.
has() {
	local program
	for program in "$@"; do command -v -- "$program" >/dev/null || return; done
}

# Waits up to 15 s for a command to succeed.
wait_for() {
	local start=$SECONDS
	until "$@"; do
		((SECONDS - start < 15)) || return
		sleep 0.5
	done
}

trap 'unforeseen $? $LINENO "$BASH_COMMAND"' ERR
read_command_line "$@"
((EUID == 0)) || fail "install.sh must run as root; use: sudo ./install.sh $*"
readonly started=$EPOCHSECONDS
recall_settings
if [[ $command == uninstall ]]; then uninstall; else install_all; fi
