# Completion for bash: to be sourced, or put into /usr/share/bash-completion/completions under the name of each command.
# Made by `python -m test.commands write` of what the commands' --help says; a test holds that both are the same.

_swift_commands() {
    local options='' words=''
    case "${1##*/}" in
        swift-account-audit) options='-c -d -e -r' words='' ;;
        swift-account-auditor) options='--help --once --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-account-info) options='--drop-prefixes --help --swift-dir --sync -d -h -s' words='' ;;
        swift-account-reaper) options='--help --once --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-account-replicator) options='--devices --help --once --partitions --test-config --verbose -d -h -o -p -t -v' words='once verbose' ;;
        swift-account-server) options='--help --test-config --verbose -h -t -v' words='' ;;
        swift-cluster) options='--description --help --out --state -d -h' words='' ;;
        swift-config) options='--check --config-num --help --section --swift-dir --wsgi -c -h -s -w' words='proxy account container object' ;;
        swift-container-auditor) options='--help --once --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-container-deleter) options='--config --end-marker --help --marker --prefix --request-tries --timestamp -h' words='' ;;
        swift-container-info) options='--drop-prefixes --help --swift-dir --sync --verbose -d -h -s -v' words='' ;;
        swift-container-reconciler) options='--help --once --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-container-replicator) options='--devices --help --once --partitions --test-config --verbose -d -h -o -p -t -v' words='once verbose' ;;
        swift-container-server) options='--help --test-config --verbose -h -t -v' words='' ;;
        swift-container-sharder) options='--devices --help --no-auto-shard --once --partitions --test-config --verbose -d -h -o -p -t -v' words='once verbose' ;;
        swift-container-sync) options='--help --once --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-container-updater) options='--help --once --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-copies) options='--all --devices --help --json --no-mount-check --policy-name --quoted --repair --swift-dir --timeout --unquarantine --verify -P -Q -a -d -h' words='' ;;
        swift-dispersion-populate) options='--container-only --container-suffix-start --help --insecure --no-overlap --object-only --object-suffix-start --policy-name -P -h' words='' ;;
        swift-dispersion-report) options='--container-only --debug --dump-json --help --insecure --object-only --partitions --policy-name -P -d -h -j -p' words='' ;;
        swift-drive-audit) options='' words='' ;;
        swift-form-signature) options='' words='' ;;
        swift-get-nodes) options='--all --help --partition --policy-name --quoted --swift-dir -P -Q -a -d -h -p' words='' ;;
        swift-init) options='--config-num --graceful --help --kill-after-timeout --kill-wait --no-daemon --no-wait --non-strict --once --run-dir --strict --swift-dir --verbose -c -g -h -k -n -o -r -v -w' words='proxy-server account-server container-server object-server account-auditor account-replicator container-auditor container-replicator object-auditor object-replicator account-reaper container-reconciler container-sharder container-sync container-updater object-expirer object-reconstructor object-updater all main rest start stop restart reload reload-seamless shutdown status once no-daemon no-wait kill force-reload' ;;
        swift-manage-shard-ranges) options='--config --help --skip-commits --verbose -h -v' words='find find_and_replace replace enable show info delete merge compact repair analyze' ;;
        swift-object-auditor) options='--devices --help --once --test-config --verbose --zero_byte_fps -d -h -o -t -v -z' words='once verbose' ;;
        swift-object-expirer) options='--help --once --process --processes --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-object-info) options='--drop-prefixes --help --no-check-etag --policy-name --swift-dir -P -d -h -n' words='' ;;
        swift-object-reconstructor) options='--devices --help --once --partitions --test-config --verbose -d -h -o -p -t -v' words='once verbose' ;;
        swift-object-relinker) options='--clobber-hardlink-collisions --debug --device --devices --files-per-second --help --logfile --partition --policy --skip-mount-check --stats-interval --swift-dir --user --workers -h -p' words='relink cleanup' ;;
        swift-object-replicator) options='--devices --help --once --partitions --policies --test-config --verbose -d -h -i -o -p -t -v' words='once verbose' ;;
        swift-object-server) options='--help --test-config --verbose -h -t -v' words='' ;;
        swift-object-updater) options='--help --once --report-again --test-config --verbose -h -o -t -v' words='once verbose' ;;
        swift-oldies) options='--age --help --pids -a -h -p' words='' ;;
        swift-orphans) options='--age --help --kill --run-dir --wide -a -h -k -r -w' words='' ;;
        swift-proxy-server) options='--help --test-config --verbose -h -t -v' words='' ;;
        swift-recon) options='--all --async --auditor --check --diskusage --driveaudit --expirer --help --human-readable --jitter --json --loadstats --lowest --md5 --policy --quarantined --reconstruction --region --replication --sharding --sockstat --suppress --swift-versions --swiftdir --time --timeout --top --unmounted --updater --validate-servers --verbose --zone -R -T -a -d -h -l -p -q -r -t -u -v -z' words='account container object' ;;
        swift-recon-cron) options='' words='' ;;
        swift-reconciler-enqueue) options='--force --help --op -X -f -h' words='' ;;
        swift-reload) options='--help --no-wait --timeout --verbose -h -t -v -w' words='' ;;
        swift-ring-builder) options='--change-device --change-ip --change-meta --change-port --change-replication-ip --change-replication-port --dev-id-bytes --format-version --json --meta --recalculate --replication-ip --replication-port --verbose --weight --yes -v' words='add create list_parts pretend_min_part_hours_passed rebalance remove search set_info set_min_part_hours set_overload set_region set_replicas set_weight set_zone validate write_builder write_ring dispersion increase_partition_power cancel_increase_partition_power finish_increase_partition_power prepare_increase_partition_power' ;;
        swift-ring-builder-analyzer) options='--check --help -c -h' words='' ;;
        swift-ring-composer) options='--help -h' words='compose show' ;;
        swift-s3-buckets) options='--conf --help --swift-dir -h' words='' ;;
        swift-s3-keys) options='--file --help --json -f -h -j' words='' ;;
        swift-s3-lifecycle) options='--help --once --test-config --verbose -h -o -t -v' words='' ;;
        swift-s3-notifier) options='--help --once --test-config --verbose -h -o -t -v' words='' ;;
        swift-s3-orphans) options='--conf --days --delete --help --swift-dir -h' words='' ;;
        swift-safe-to-pull) options='--dead --devices --help --json --no-mount-check --quick --quiet --swift-dir --timeout -d -h -q' words='' ;;
        swift-sharding-status) options='--all --help --json --swift-dir --timeout -a -d -h -t' words='' ;;
        swift-status) options='--help --json --swift-dir --timeout --within -d -h -t' words='' ;;
        swift-trace) options='--help --host --json --lines --no-journal --swift-dir -h' words='' ;;
    esac
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [[ "$word" == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    fi
}
complete -o default -o bashdefault -F _swift_commands swift-account-audit swift-account-auditor swift-account-info swift-account-reaper swift-account-replicator swift-account-server swift-cluster swift-config swift-container-auditor swift-container-deleter swift-container-info swift-container-reconciler swift-container-replicator swift-container-server swift-container-sharder swift-container-sync swift-container-updater swift-copies swift-dispersion-populate swift-dispersion-report swift-drive-audit swift-form-signature swift-get-nodes swift-init swift-manage-shard-ranges swift-object-auditor swift-object-expirer swift-object-info swift-object-reconstructor swift-object-relinker swift-object-replicator swift-object-server swift-object-updater swift-oldies swift-orphans swift-proxy-server swift-recon swift-recon-cron swift-reconciler-enqueue swift-reload swift-ring-builder swift-ring-builder-analyzer swift-ring-composer swift-s3-buckets swift-s3-keys swift-s3-lifecycle swift-s3-notifier swift-s3-orphans swift-safe-to-pull swift-sharding-status swift-status swift-trace
