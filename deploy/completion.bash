# bash completion for the runbook: source this file, for example from ~/.bashrc. Made by `make manual`; do not edit.
# Completes procedures, options, --hosts= from inventory/, --members= and --gone= from that inventory's file.
_requorum_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

_requorum_inventories() {
    local file
    for file in inventory/*.yaml "$_requorum_root"/inventory/*.yaml; do
        [ -f "$file" ] && basename "$file" .yaml
    done | sort -u
}

# _requorum_names NAME FIELD: members' or hosts' names, as they stand one a line below FIELD of the inventory: of a
# list `- name: …` or `- {name: …`, of a mapping its own keys.
_requorum_names() {
    local file
    for file in "$1" "inventory/$1.yaml" "$_requorum_root/inventory/$1.yaml"; do
        [ -f "$file" ] || continue
        case $2 in
            members) sed -n "/^$2:/,/^[a-z]/p" "$file" | sed -n 's/^ *- *{\{0,1\} *name: *\([A-Za-z0-9._-]*\).*/\1/p' ;;
            *) sed -n "/^$2:/,/^[a-z]/p" "$file" | sed -n 's/^  \([A-Za-z0-9._-]*\):.*/\1/p' ;;
        esac
        return
    done
}

_requorum() {
    local word option='' value='' hosts='' i named='' own=()
    # `=` breaks words where COMP_WORDBREAKS has it: put them together again.
    local line=${COMP_LINE:0:COMP_POINT} words=()
    read -ra words <<<"$line"
    case $line in *' ') words+=('') ;; esac
    word=${words[${#words[@]} - 1]}
    for ((i = 1; i < ${#words[@]}; i++)); do
        case ${words[i]} in
            --hosts=*) hosts=${words[i]#--hosts=} ;;
            runbook*) [ $i -lt $((${#words[@]} - 1)) ] && named=1 ;;
        esac
    done
    COMPREPLY=()
    case $word in
        --*=*)
            option=${word%%=*} value=${word#*=}
            case $option in
                --hosts) own=($(_requorum_inventories)) ;;
                --members) own=($(_requorum_names "$hosts" members)) ;;
                --gone) own=($(_requorum_names "$hosts" hosts)) ;;
                --snapshot | --evidence | --approved) COMPREPLY=($(compgen -f -- "$value")); return ;;
            esac
            local before='' given=",${value%,*}," left=()
            case $value in *,*) before=${value%,*}, value=${value##*,} ;; *) given= ;; esac
            for i in "${own[@]}"; do
                case $given in *",$i,"*) ;; *) left+=("$i") ;; esac
            done
            own=("${left[@]}")
            case $COMP_WORDBREAKS in *=*) ;; *) before="$option=$before" ;; esac
            COMPREPLY=($(compgen -P "$before" -W "${own[*]}" -- "$value"))
            ;;
        -*)
            [ -n "$named" ] || return
            COMPREPLY=($(compgen -W '--hosts= --confirm= --plan --check --snapshot= --salvage= --skip-hash= --accept= --approved= --rebuild --gone= --discard-new-writes --since= --members= --off --seconds= --offsite --extract= --evidence= --concurrency= --timeout-scale= --ask-become-pass --json --detailed-exitcode --help-pytest' -- "$word"))
            [[ ${COMPREPLY[*]} == *= ]] && compopt -o nospace 2>/dev/null
            ;;
        *) [ -n "$named" ] || COMPREPLY=($(compgen -W 'runbook runbook/check runbook/backup runbook/verify runbook/drill runbook/rollback runbook/retry runbook/close runbook/troubleshoot/collect_logs runbook/troubleshoot/diagnose runbook/troubleshoot/debug_logging runbook/troubleshoot/run_directly runbook/troubleshoot/permissions runbook/troubleshoot/sudoers' -- "$word")) ;;
    esac
}

complete -o default -F _requorum pytest .venv/bin/pytest
