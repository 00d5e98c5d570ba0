#!/bin/sh
# Real SSH hosts on this one machine, for the tests: each has its own network, processes, host name and an overlay of this
# machine's file system, so that what a test does to /etc or to users stays within the host. Needs root.
#
#   hosts.sh up DIR N       starts h1..hN; DIR gets `key`, `known_hosts`, `inventory.ini`
#   hosts.sh boot DIR N     as `up`, with systemd as the hosts' first process
#   hosts.sh exec DIR HOST COMMAND...
#   hosts.sh kill DIR HOST  ends sshd and all its sessions; hosts.sh sshd DIR HOST starts it again
#   hosts.sh cut DIR HOST   takes a host off the network; hosts.sh mend DIR HOST brings it back
#   hosts.sh fill DIR HOST FOLDER KIB   puts a full file system over FOLDER; hosts.sh unfill DIR HOST FOLDER
#   hosts.sh down DIR
#
# The user `ops` logs in with the key. Its password for sudo is `s3cret`; odd hosts do not ask for it.
set -eu
command=$1
dir=$2
shift 2

# Several sets can be up at once: each claims a network of its own, remembered in the folder.
claim() {
    id=$(printf %s "$dir" | cksum | cut -d' ' -f1)
    for try in $(seq 200); do
        net=10.$((200 + (id + try) % 50)).$(((id / 50 + try * 7) % 250 + 1))
        bridge=wl$(printf %s "$net" | tr -d .)
        # Making the bridge is the claim: only one can.
        if ! ip -br addr | grep -q " $net\.254/" && ip link add "$bridge" type bridge 2>/dev/null; then
            printf '%s %s\n' "$net" "$bridge" >"$dir/net"
            return
        fi
    done
    echo "hosts.sh: no network is free" >&2
    exit 1
}
net=none bridge=none
if [ -f "$dir/net" ]; then read -r net bridge <"$dir/net"; fi

# Prints the process of a host in which its name spaces are entered.
inside() { cat "$dir/$1/init.pid"; }

up() {
    count=$1
    mkdir -p "$dir"
    mountpoint -q "$dir/fs" || { mkdir -p "$dir/fs"; mount -t tmpfs -o mode=755 wlfs "$dir/fs"; }
    [ -f "$dir/key" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/key"
    [ -f "$dir/net" ] || { claim; ip addr add "$net.254/24" dev "$bridge"; ip link set "$bridge" up; }
    : >"$dir/known_hosts"
    printf '[all]\n' >"$dir/inventory.ini"
    for n in $(seq "$count"); do
        host=h$n
        [ -f "$dir/$host/init.pid" ] || start "$n"
        printf '%s %s\n' "$net.$n" "$(cut -d' ' -f1,2 "$dir/$host/host_key.pub")" >>"$dir/known_hosts"
        printf '%s ansible_host=%s\n' "$host" "$net.$n" >>"$dir/inventory.ini"
    done
    printf '[all:vars]\nansible_user=ops\nansible_ssh_private_key_file=%s\nansible_ssh_common_args=-F none -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes\n' \
        "$dir/key" "$dir/known_hosts" >>"$dir/inventory.ini"
    for n in $(seq "$count"); do
        for _ in $(seq 100); do
            timeout 1 sh -c "exec 3<>/dev/tcp/$net.$n/22" 2>/dev/null && break
            timeout 1 bash -c "exec 3<>/dev/tcp/$net.$n/22" 2>/dev/null && break
            sleep 0.1
        done
    done
}

start() {
    n=$1 host=h$1
    mkdir -p "$dir/$host" "$dir/fs/$host/up" "$dir/fs/$host/work" "$dir/fs/$host/root"
    [ -f "$dir/$host/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C '' -f "$dir/$host/host_key"
    ip netns add "$bridge-$host"
    ip link add "$bridge.$n" type veth peer name eth0 netns "$bridge-$host"
    ip link set "$bridge.$n" master "$bridge" up
    ip -n "$bridge-$host" link set lo up
    ip -n "$bridge-$host" addr add "$net.$n/24" dev eth0
    ip -n "$bridge-$host" link set eth0 up
    ip -n "$bridge-$host" route add default via "$net.254"
    ip netns exec "$bridge-$host" unshare --mount --uts --ipc --pid --fork --kill-child=KILL \
        sh "$0" guest "$dir" "$host" "$n" >"$dir/$host/log" 2>&1 </dev/null &
    echo $! >"$dir/$host/supervisor.pid"
    for _ in $(seq 600); do
        pid=$(cat "/proc/$!/task/$!/children" 2>/dev/null | tr -d ' ' || true)
        # unshare's child is the host's first process.
        [ -n "$pid" ] && [ -f "$dir/$host/ready" ] && break
        sleep 0.05
    done
    echo "$pid" >"$dir/$host/init.pid"
}

# Runs as the first process of a host.
guest() {
    host=$1 n=$2
    root=$dir/fs/$host/root
    hostname "$host"
    mount --make-rprivate /
    mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/fs/$host/up,workdir=$dir/fs/$host/work" "$root"
    mount --rbind /dev "$root/dev"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755 run "$root/run"
    mount -t tmpfs -o mode=1777 tmp "$root/tmp"
    # The folder of the test set is seen in the host at the same place: logs and state are shared by it.
    mkdir -p "$root$dir/shared" "$dir/shared"
    mount --bind "$dir/shared" "$root$dir/shared"
    mkdir -p "$root/run/sshd" "$root/etc/ssh" "$root/home"
    rm -f "$root"/etc/ssh/ssh_host_*
    cp "$dir/$host/host_key" "$root/etc/ssh/ssh_host_ed25519_key"
    chmod 600 "$root/etc/ssh/ssh_host_ed25519_key"
    cp "$dir/$host/host_key.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
    cat >"$root/etc/ssh/sshd_config" <<X
ListenAddress 0.0.0.0
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication yes
KbdInteractiveAuthentication no
UsePAM no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
PidFile /run/sshd.pid
X
    rm -rf "$root/root/.ssh" "$root/root/.cache/windlass"
    chroot "$root" sh -c "
        id ops >/dev/null 2>&1 || useradd -m -s /bin/sh -u 2000 ops
        echo ops:s3cret | chpasswd -c SHA512
        mkdir -p /home/ops/.ssh
    "
    cp "$dir/key.pub" "$root/home/ops/.ssh/authorized_keys"
    chroot "$root" sh -c "chown -R ops:ops /home/ops; chmod 700 /home/ops/.ssh; chmod 600 /home/ops/.ssh/authorized_keys"
    if [ $((n % 2)) = 1 ]; then rule='NOPASSWD: ALL'; else rule='ALL'; fi
    mkdir -p "$root/etc/sudoers.d"
    printf 'ops ALL=(ALL:ALL) %s\n' "$rule" >"$root/etc/sudoers.d/ops"
    chmod 440 "$root/etc/sudoers.d/ops"
    grep -v -e "[[:space:]]$host\$" /etc/hosts >"$root/etc/hosts" || true
    printf '127.0.1.1 %s\n' "$host" >>"$root/etc/hosts"
    if [ -f "$dir/boot" ]; then
        boot
    fi
    chroot "$root" /usr/sbin/sshd
    echo yes >"$dir/$host/ready"
    # Stays as the host's first process and reaps what is left behind.
    exec chroot "$root" sh -c 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
}

# Becomes systemd, which starts sshd and nothing else: the units of this machine are none of the tests' business.
boot() {
    units=$root/etc/systemd/system
    rm -rf "$units"
    mkdir -p "$units"
    : >"$root/etc/machine-id"
    echo "$host" >"$root/etc/hostname"
    printf '[Unit]\nDefaultDependencies=no\nRequires=sshd.service\nAllowIsolate=yes\n' >"$units/tests.target"
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/usr/sbin/sshd -D\nExecStartPost=/bin/sh -c "echo yes >/ready"\nKillMode=process\n' >"$units/sshd.service"
    rm -f "$root/ready"
    (
        while [ ! -f "$root/ready" ]; do sleep 0.1; done
        echo yes >"$dir/$host/ready"
    ) &
    exec chroot "$root" env -i container=tests PATH="$PATH" /lib/systemd/systemd --unit=tests.target --log-target=console --show-status=no
}

case $command in
up) up "$1" ;;
boot)
    mkdir -p "$dir"
    : >"$dir/boot"
    up "$1"
    ;;
guest) guest "$@" ;;
exec)
    host=$1
    shift
    exec nsenter -t "$(inside "$host")" -m -u -i -n -p -r -w -- "$@"
    ;;
kill)
    # Sessions first, then the listener: what is started by neither stays.
    nsenter -t "$(inside "$1")" -m -p -r -w -- sh -c 'pkill -KILL -x sshd || true'
    ;;
sshd) nsenter -t "$(inside "$1")" -m -u -i -n -p -r -w -- /usr/sbin/sshd ;;
cut) ip link set "$bridge.${1#h}" down ;;
mend) ip link set "$bridge.${1#h}" up ;;
fill)
    nsenter -t "$(inside "$1")" -m -r -w -- sh -c 'mkdir -p "$1" && mount -t tmpfs -o size="$2"k full "$1" && { head -c 100M /dev/zero >"$1/.full" 2>/dev/null || true; }' sh "$2" "$3"
    ;;
unfill) nsenter -t "$(inside "$1")" -m -r -w -- umount "$2" ;;
down)
    for host in "$dir"/h*; do
        [ -f "$host/supervisor.pid" ] || continue
        kill -KILL "$(cat "$host/supervisor.pid")" 2>/dev/null || true
        kill -KILL "$(cat "$host/init.pid")" 2>/dev/null || true
        ip netns del "$bridge-${host##*/}" 2>/dev/null || true
    done
    ip link del "$bridge" 2>/dev/null || true
    sleep 0.2
    umount -l "$dir/fs" 2>/dev/null || true
    rm -rf "$dir"
    ;;
*)
    echo "hosts.sh: no command \`$command\`" >&2
    exit 2
    ;;
esac
