# plots.gp - bench/results.csv as bars, to FOLDER/*.svg and *.png: gnuplot -e "folder='DIR'" bench/plots.gp
#
#   time over floor of every line (bar), p10 to p90 (whisker); how many times faster than PyTorch

set datafile separator ','
set style fill solid 0.6 noborder
set boxwidth 0.7
set grid ytics
set yrange [0:*]
set xrange [-0.7:*]
set xtics rotate by -40 nomirror scale 0 font ',8'
set bmargin 12
set rmargin 14
set key off
label(n) = strcol(2).' '.strcol(3).' '.strcol(4).' '.strcol(6).' '.strcol(7).'T'
rows(name) = '< grep "^'.name.'," bench/results.csv'

do for [format in 'svg png'] {
    if (format eq 'svg') { set terminal svg size 1100,640 dynamic noenhanced } else { set terminal pngcairo size 1100,640 noenhanced }
    do for [name in 'prune top-k gather ladder'] {
        set output folder.'/'.name.'.'.format
        set title name.': time over floor of the same round'
        if (name eq 'ladder') { set logscale y; set yrange [0.5:*] } else { unset logscale y; set yrange [0:*] }
        plot rows(name) using 0:8:9:10:(0.7):xtic(label(0)) with boxerrorbars linecolor rgb '#3b75af'
    }
    unset logscale y
    set yrange [0:*]
    set output folder.'/prune-peer.'.format
    set title 'prune: times faster than PyTorch in the same round'
    plot rows('prune') using 0:12:xtic(label(0)) with boxes linecolor rgb '#519e3e'
    set output
}
