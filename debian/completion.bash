# Completion of rmux's flags and of the paths that some of them take. The flags are those that the installed rmux knows.

_rmux() {
    local cur prev words cword
    _init_completion -n = 2>/dev/null || {
        cur=${COMP_WORDS[COMP_CWORD]}
        prev=${COMP_WORDS[COMP_CWORD - 1]}
    }
    local flag=$prev value=$cur lead=
    if [[ $cur == -*=* ]]; then
        flag=${cur%%=*} value=${cur#*=} lead=${cur%%=*}=
    fi
    COMPREPLY=()
    case $flag in
        -config | --config | -against | --against | -socket | --socket | -pidFile | --pidFile | -admin | --admin | -unixConnections | --unixConnections)
            mapfile -t COMPREPLY < <(compgen -f -- "$value")
            compopt -o filenames 2>/dev/null
            ;;
        -user | --user)
            mapfile -t COMPREPLY < <(compgen -u -- "$value")
            ;;
        -group | --group)
            mapfile -t COMPREPLY < <(compgen -g -- "$value")
            ;;
        -host | --host)
            mapfile -t COMPREPLY < <(compgen -A hostname -- "$value")
            ;;
        *)
            [[ $cur == *=* || ($cur != -* && -n $cur) ]] && return
            local flags
            flags=$("${COMP_WORDS[0]}" -help 2>/dev/null | sed -n 's/^  \(-[A-Za-z][A-Za-z]*\).*/\1/p')
            mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
            return
            ;;
    esac
    # With "=" among the characters that break words, what stands before it is not part of the word.
    if [[ -n $lead && $COMP_WORDBREAKS != *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]/#/$lead}")
    fi
}
complete -F _rmux rmux
