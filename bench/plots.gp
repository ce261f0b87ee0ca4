# plots.gp - bench/results.csv as bars, to FOLDER/*.svg and *.png: gnuplot -e "folder='DIR'" bench/plots.gp
#
#   time over floor of every line (bar), p10 to p90 (whisker), floor (line at 1); how many times faster than PyTorch
#   the first line of the file is the top bar

set datafile separator ','
set style fill solid 0.6 noborder
set grid xtics
set ytics nomirror scale 0 font ',9'
set xtics nomirror
set border 1
set lmargin 42
set rmargin 6
set key off
label(n) = strcol(2).' '.strcol(3).' '.strcol(4).'  '.strcol(6).', '.strcol(7).(column(7) == 1 ? ' thread' : ' threads')
short(x) = sprintf(x < 10 ? '%.2f' : '%.1f', x)
rows(name) = '< grep "^'.name.'," bench/results.csv'
count(name) = system('grep -c "^'.name.'," bench/results.csv') + 0
terminal(format, n) = format eq 'svg' ? sprintf('set terminal svg size 1000,%d dynamic noenhanced', 110 + 26 * n) \
                                      : sprintf('set terminal pngcairo size 1000,%d noenhanced', 110 + 26 * n)

do for [format in 'svg png'] {
    do for [name in 'prune top-k gather ladder'] {
        eval terminal(format, count(name))
        set yrange [count(name) - 0.4:-0.6]
        set output folder.'/'.name.'.'.format
        set title name.': time over floor of the same round; whiskers from p10 to p90'
        set xlabel 'times the floor'
        if (name eq 'ladder') { set logscale x; set xrange [0.7:200] } else { unset logscale x; set xrange [0:*] }
        set arrow 1 from 1, graph 0 to 1, graph 1 nohead dashtype 2 linecolor rgb '#555555' front
        low = name eq 'ladder' ? 0.7 : 0
        plot rows(name) using (low):0:(low):8:($0 - 0.35):($0 + 0.35):ytic(label(0)) with boxxyerror linecolor rgb '#3b75af', \
             '' using 8:0:9:10 with xerrorbars pointtype -1 linecolor rgb '#1f3f60', \
             '' using 10:0:(short($8)) with labels left offset 0.7, 0 font ',9'
    }
    unset logscale x
    unset arrow 1
    eval terminal(format, count('prune'))
    set xrange [0:*]
    set yrange [count('prune') - 0.4:-0.6]
    set output folder.'/prune-peer.'.format
    set title 'prune: times faster than PyTorch in the same round'
    set xlabel 'time of PyTorch over time of vidrun'
    plot rows('prune') using (0):0:(0):12:($0 - 0.35):($0 + 0.35):ytic(label(0)) with boxxyerror linecolor rgb '#519e3e', \
         '' using 12:0:(short($12)) with labels left offset 0.7, 0 font ',9'
    set output
}
