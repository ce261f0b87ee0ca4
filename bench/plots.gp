# plots.gp - bench/results.csv as bars, to FOLDER/*.svg and *.png: gnuplot -e "folder='DIR'" bench/plots.gp
#
#   time over floor of every line (bar), p10 to p90 (whisker); how many times faster than PyTorch

set datafile separator ','
set style fill solid 0.6 noborder
set boxwidth 0.7
set grid ytics
set yrange [0:*]
set xtics rotate by -35 nomirror scale 0 font ',8'
set bmargin 11
set rmargin 12
set key off
label(bench, form, type, shape, level, threads) = form.' '.type.' '.shape.' '.level.' '.threads.'T'
is(bench, name) = strcol(1) eq name

do for [format in 'svg png'] {
    if (format eq 'svg') { set terminal svg size 1000,600 dynamic } else { set terminal pngcairo size 1000,600 }
    do for [name in 'prune top-k gather ladder'] {
        stats 'bench/results.csv' every ::1 using (is(0, name) ? 1 : NaN) nooutput
        if (exists('STATS_records') && STATS_records > 0) {
            set output folder.'/'.name.'.'.format
            set title name.': time over floor of the same round'
            n = 0
            plot 'bench/results.csv' every ::1 using (is(0, name) ? (n = n + 1, n) : NaN):8:9:10:xtic(is(0, name) ? label('', strcol(2), strcol(3), strcol(4), strcol(6), strcol(7)) : '') \
                with boxerrorbars linecolor rgb '#3b75af'
            set output
        }
    }
    set output folder.'/prune-peer.'.format
    set title 'prune: times faster than PyTorch in the same round'
    n = 0
    plot 'bench/results.csv' every ::1 using (is(0, 'prune') ? (n = n + 1, n) : NaN):12:xtic(is(0, 'prune') ? label('', strcol(2), strcol(3), strcol(4), strcol(6), strcol(7)) : '') \
        with boxes linecolor rgb '#519e3e'
    set output
}
