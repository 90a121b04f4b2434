/* What a number is measured on, as istapp.images and istapp.metrics have it; the page and its worker both use it. */
"use strict";

/** Full-range BT.601 luma of red, green and blue from 0 to 255, as the paper's code rounds it. */
const luma = (red, green, blue) => (4899 * red + 9617 * green + 1868 * blue + 8192) >> 14;

const clip = (value) => Math.min(1, Math.max(0, value));

/** PSNR in dB of planes (one gray, or red, green and blue, around [0, 1]) against a luma from 0 to 255; no rounding. */
function psnr(planes, reference) {
  let error = 0;
  for (let i = 0; i < reference.length; i++) {
    const value = planes.length === 1
      ? clip(planes[0][i])
      : (4899 * clip(planes[0][i]) + 9617 * clip(planes[1][i]) + 1868 * clip(planes[2][i])) / 16384;
    error += (value - reference[i] / 255) ** 2;
  }
  return -10 * Math.log10(error / reference.length);
}

/** The luma that planes of bytes (one gray, or red, green and blue) are measured by. */
const reference = (planes) =>
  planes.length === 1 ? planes[0] : planes[0].map((red, i) => luma(red, planes[1][i], planes[2][i]));
