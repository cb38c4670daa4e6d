#!/bin/sh
# Makes the clips of the simulated devices beside this script. Needs ffmpeg with libx264, libx265 and libfreetype.
#
# Pictures: five seconds at 25 frames a second, a key frame every second, no B-frames, an access unit delimiter before each
# picture (the reader cuts there). Sounds: a melody that fits its loop.
set -eu
cd "$(dirname "$0")"

clock="drawtext=text='%{pts\\:hms}':x=24:y=h-64:fontsize=44:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=8"
name() { echo "drawtext=text='$1':x=24:y=24:fontsize=36:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=8"; }
x264="aud=1:scenecut=0:keyint=25:min-keyint=25:bframes=0:no-info=1"
x265="aud=1:scenecut=0:keyint=25:min-keyint=25:bframes=0:info=0:log-level=error"

ffmpeg -v error -y -f lavfi -i "testsrc2=s=1280x720:r=25:d=5" -vf "$(name YARD),$clock" \
  -c:v libx264 -profile:v high -preset slow -b:v 1200k -maxrate 1500k -bufsize 1500k -pix_fmt yuv420p \
  -x264-params "$x264" -bsf:v filter_units=remove_types=6 -f h264 yard.h264
ffmpeg -v error -y -f lavfi -i "smptehdbars=s=1280x720:r=25:d=5" -f lavfi -i "testsrc2=s=480x270:r=25:d=5" \
  -filter_complex "[0][1]overlay=x=120+t*100:y=140+60*sin(t*PI*2/5),$(name GATE),$clock" \
  -c:v libx264 -profile:v main -preset slow -b:v 700k -maxrate 900k -bufsize 900k -pix_fmt yuv420p \
  -x264-params "$x264" -bsf:v filter_units=remove_types=6 -f h264 gate.h264
ffmpeg -v error -y -f lavfi -i "testsrc2=s=1280x720:r=25:d=5" -vf "hue=h=t*72,$(name HALL),$clock" \
  -c:v libx265 -preset medium -b:v 900k -maxrate 1100k -bufsize 1100k -pix_fmt yuv420p \
  -x265-params "$x265:vbv-maxrate=1100:vbv-bufsize=1100" -bsf:v filter_units=remove_types=39-40 -f hevc hall.h265

# Eight notes of a scale; 5 s of A-law at 8 kHz, 80 access units of AAC-LC (5.12 s) at 16 kHz.
scale() { echo "0.25*sin(2*PI*t*(440*pow(2\,floor(mod(t\,$1)*8/$1)/8)))*(0.3+0.7*abs(sin(t*PI*8/$1)))"; }
ffmpeg -v error -y -f lavfi -i "aevalsrc=exprs='$(scale 5)':s=8000:d=5" -c:a pcm_alaw -f alaw melody.alaw
ffmpeg -v error -y -f lavfi -i "aevalsrc=exprs='$(scale 5.12)':s=16000:d=5.12" -c:a aac -profile:a aac_low -b:a 32k \
  -frames:a 80 -f adts melody.aac
ls -l
