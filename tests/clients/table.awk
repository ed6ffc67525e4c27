# The lines of the results (row, leg, line, parted by a bar) as a table, and what failed or was skipped below it.

{
    row = $1; leg = $2; line = $3
    for (i = 4; i <= NF; i++) line = line "|" $i
    if (!(row in seen)) { seen[row] = 1; order[++rows] = row }
    if (line ~ /^client /) {
        split(line, words, " ")
        name[row] = words[2]
        if (words[3] != "-") version[row] = words[3]
        next
    }
    if (line ~ /^ok /) { passed[row]++; all_passed++ }
    if (line ~ /^not ok /) { failed[row]++; all_failed++; notes[++count] = row ", " leg ": " line }
    if (line ~ /^skip /) { skipped[row]++; all_skipped++; notes[++count] = row ", " leg ": " line }
    if (leg != "-" && !((row, leg) in ran)) { ran[row, leg] = 1; legs[row]++ }
}

END {
    print "| client | version | what was run | result |"
    print "|---|---|---|---|"
    for (i = 1; i <= rows; i++) {
        row = order[i]
        split(row, words, " ")
        what = words[3] ", " (legs[row] ? legs[row] " ways" : "not run")
        result = passed[row] + 0 " passed"
        if (failed[row]) result = result ", " failed[row] " FAILED"
        if (skipped[row]) result = result ", " skipped[row] " skipped"
        shown = (row in name) ? name[row] : words[2]
        printf "| %s | %s | %s | %s |\n", shown, (row in version) ? version[row] : "-", what, result
    }
    print ""
    for (i = 1; i <= count; i++) print notes[i]
    printf "%d passed, %d failed, %d skipped\n", all_passed, all_failed, all_skipped
}
