# plots.gp - bench/results.csv (or results) as bars, to FOLDER/*.svg and *.png: gnuplot -e "folder='DIR'" bench/plots.gp
#
#   floors-NAME   time over floor of every line (bar), p10 to p90 (whisker), floor (line at 1)
#   shares-NAME   share of what the machine could do in the same round (bar), that of every peer (mark)
#   peers-NAME    how many times faster than every peer (marks; line at 1); peers-whole: whole parts of a model
#   the first line of the file is the top bar; families that the file lacks are left out

if (!exists('results')) { results = 'bench/results.csv' }
set datafile separator ','
set style fill solid 0.6 noborder
set grid xtics
set ytics nomirror scale 0 font ',9'
set xtics nomirror
set border 1
set lmargin 48
set rmargin 6
set tmargin 3
set bmargin 5.5
set key off
label(n) = strcol(2).' '.strcol(3).' '.(strcol(2) eq strcol(4) ? '' : strcol(4)).'  '.strcol(6).', '.strcol(7).(column(7) == 1 ? ' thread' : ' threads')
short(x) = sprintf(x < 10 ? '%.2f' : '%.1f', x)
# rows with a floor; rows of those with a peer; older files have no third peer
measured(name) = '< grep -E "^('.name.')," '.results.' | awk -F, -v OFS=, "\$8 != \"nan\" { \$24 = \$24; print }"'
compared(name) = measured(name).' | awk -F, "\$13 != \"\""'
count(command) = system(substr(command, 3, strlen(command)).' | wc -l') + 0
terminal(format, n) = format eq 'svg' ? sprintf('set terminal svg size 1000,%d dynamic noenhanced', 150 + 26 * n) \
                                      : sprintf('set terminal pngcairo size 1000,%d noenhanced', 150 + 26 * n)

# how many times faster than the peer whose name begins with p; NaN: not compared
is(p, i) = substr(strcol(i), 1, strlen(p)) eq p
times(p) = is(p, 13) ? column(12) : is(p, 15) ? column(14) : is(p, 22) ? column(21) : NaN
colour(p) = p eq 'oneDNN' ? 0xc44e52 : p eq 'torch' ? 0xdd8452 : p eq 'OpenBLAS' ? 0x8172b3 : p eq 'numpy' ? 0x937860 : 0x55a868
# peers that a family is compared with
has(name, p) = count(compared(name).' | grep ",'.p.'"') > 0 ? ' '.p : ''
used(name) = has(name, 'oneDNN').has(name, 'torch').has(name, 'OpenBLAS').has(name, 'llama.cpp').has(name, 'numpy')

do for [format in 'svg png'] {
    do for [name in 'prune top-k gather ladder kmeans memory_update scene_tiling'] {
        n = count(measured(name))
        if (n == 0) { continue }
        eval terminal(format, n)
        set yrange [n - 0.4:-0.6]
        set output folder.'/floors-'.name.'.'.format
        set title name.': time over floor of the same round; whiskers from p10 to p90'
        set xlabel 'times the floor'
        if (name eq 'ladder') { set logscale x; set xrange [0.7:200] } else { unset logscale x; set xrange [0:*] }
        set arrow 1 from 1, graph 0 to 1, graph 1 nohead dashtype 2 linecolor rgb '#555555' front
        low = name eq 'ladder' ? 0.7 : 0
        plot measured(name) using (low):0:(low):8:($0 - 0.35):($0 + 0.35):ytic(label(0)) with boxxyerror linecolor rgb '#3b75af', \
             '' using 8:0:9:10 with xerrorbars pointtype -1 linecolor rgb '#1f3f60', \
             '' using 10:0:(short($8)) with labels left offset 0.7, 0 font ',9'
    }
    unset logscale x
    set key at screen 0.5, screen 0.03 center bottom horizontal maxrows 1 samplen 1.5
    do for [name in 'gemm gemv attention norms vit qformer audio prefill decode pipeline'] {
        n = count(measured(name))
        if (n == 0) { continue }
        eval terminal(format, n)
        set yrange [n - 0.4:-0.6]
        set xrange [0:1<*]
        those = used(name)
        set output folder.'/shares-'.name.'.'.format
        set title name.': share of what the machine could do in that round'
        set xlabel 'floor over time'
        plot measured(name) using (0):0:(0):(1 / $8):($0 - 0.35):($0 + 0.35):ytic(label(0)) with boxxyerror linecolor rgb '#3b75af' title 'vidrun', \
             for [p in those] '' using (1 / ($8 * times(p))):0 with points pointtype 7 pointsize 1.1 \
                 linecolor rgb colour(p) title p, \
             '' using (0):0:(short(1 / $8)) with labels left offset 0.7, 0 font ',9' notitle
    }
    do for [name in 'gemm vit|prefill|decode prune top-k gather kmeans memory_update scene_tiling'] {
        n = count(compared(name))
        if (n == 0) { continue }
        eval terminal(format, n)
        set yrange [n - 0.4:-0.6]
        set logscale x
        set xrange [0.5:2<*]
        those = used(name)
        set arrow 1 from 1, graph 0 to 1, graph 1 nohead dashtype 2 linecolor rgb '#555555' front
        what = name eq 'vit|prefill|decode' ? 'whole' : name
        set output folder.'/peers-'.what.'.'.format
        set title what.': times faster than a peer in the same round (1: as fast)'
        set xlabel 'time of the peer over time of vidrun'
        first = what eq 'whole' ? 1 : 0
        plot for [p in those] compared(name) using (times(p)):0:ytic((first ? strcol(1).' ' : '').label(0)) with points pointtype 7 pointsize 1.1 \
                 linecolor rgb colour(p) title p
    }
    unset logscale x
    unset arrow 1
    set key off
    set output
}
