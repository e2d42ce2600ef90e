// Tiles of planned pictures from pool slots to canvases; one launch for all tiles of a chunk.
//
// The definition is dualface_ray.compose (axis_stages, colour_transform, compose_reference). A block makes 32 x 32 luma
// samples of one tile and the 16 x 16 chroma samples beside them. It computes its rows of weights once, then walks
// down the source in strips: each strip is filtered across into shared memory, and every output takes its share.
// The picture is made in stored orientation and turned when it is written. Grid: (blocks across, blocks down, jobs).

#define TILE 32
#define STRIP 16
#define MAX_KERNEL 24
#define MAX_TAPS (MAX_KERNEL + 3)
#define CHROMA_TILE (TILE / 2 + 2)

struct ComposeAxis {
  double step;    // of stage 2, on the decimated axis
  float phase;    // 0..1, of the Lanczos kernel
  float stretch;  // of the Lanczos kernel, at least 1
  int decimate;
  int first;      // index on the decimated axis that the kernel's first tap weighs for m = 0
  int reach;      // the kernel has 2 * reach taps; 0 = one tap of weight 1
  int lobes;      // half width of the kernel in stretched samples
  int lead, count;
  int size;       // samples of the source axis
};

struct ComposeJob {
  u64 slot, canvas;
  ComposeAxis luma_x, luma_y, chroma_x, chroma_y;
  float luma_gain, luma_offset, chroma_gain, chroma_offset;
  float luma_mix[2];
  float chroma_mix[4];  // row by row
  int pitch;            // samples per row of the slot
  int slot_rows;        // luma rows before the chroma plane
  int wide;             // 1: 16-bit samples in the slot
  int canvas_pitch, canvas_rows;
  int x, y, width, height;  // the tile on its canvas
  int turns;                // clockwise quarters from stored to displayed
  int deep;                 // 1: the canvas holds 10 bits at the top of 16
  int mixes;                // the matrices differ: chroma adds to luma
};

struct Rows {  // weights of up to TILE outputs of one axis
  float weights[TILE * MAX_TAPS];
  int first[TILE];  // first source sample, not clamped
  int taps;         // on the decimated axis
};

__device__ __forceinline__ float sinc(float x) {
  float angle = 3.14159265358979f * x;
  return fabsf(x) < 1e-6f ? 1.0f : sinf(angle) / angle;
}

// Rows of axis_taps for outputs low .. low + count - 1, before the decimated samples are spelled out.
//
// The kernel is a Lanczos window, tilted by a small odd term so that it keeps constants and slopes exactly.
__device__ void make_rows(const ComposeAxis &axis, int cubic, int low, int count, float *kernel, float *tilt,
                          Rows *rows) {
  int length = axis.reach ? 2 * axis.reach : 1;
  float lobes = (float)axis.lobes;
  for (int i = threadIdx.x; i < length; i += blockDim.x) {
    float x = ((float)(i - axis.reach + 1) - axis.phase) / axis.stretch, y = x / lobes;
    int within = fabsf(x) < lobes;
    kernel[i] = axis.reach == 0 ? 1.0f : (within ? sinc(x) * sinc(y) : 0.0f);
    tilt[i] = within ? x * (1.0f - y * y) * (1.0f - y * y) : 0.0f;
  }
  __syncthreads();
  float gain = 1.0f, lean = 0.0f;
  if (axis.reach) {
    float sum = 0.0f, sum_tilt = 0.0f, first = 0.0f, first_tilt = 0.0f;
    for (int i = 0; i < length; ++i) {
      float offset = (float)(i - axis.reach + 1);
      sum += kernel[i];
      sum_tilt += tilt[i];
      first += offset * kernel[i];
      first_tilt += offset * tilt[i];
    }
    float determinant = sum * first_tilt - sum_tilt * first;
    gain = (first_tilt - sum_tilt * axis.phase) / determinant;
    lean = (sum * axis.phase - first) / determinant;
  }
  int span = cubic ? 4 : 2;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    double position = ((double)(low + i + axis.lead) + 0.5) * axis.step - 0.5;
    double whole = floor(position);
    float t = (float)(position - whole), scale[4];
    if (cubic) {
      const float a = -0.75f;
      scale[0] = ((a * (t + 1.0f) - 5.0f * a) * (t + 1.0f) + 8.0f * a) * (t + 1.0f) - 4.0f * a;
      scale[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
      scale[2] = ((a + 2.0f) * (1.0f - t) - (a + 3.0f)) * (1.0f - t) * (1.0f - t) + 1.0f;
      scale[3] = 1.0f - scale[0] - scale[1] - scale[2];
    } else {
      scale[0] = 1.0f - t;
      scale[1] = t;
    }
    float *row = rows->weights + i * MAX_TAPS;
    for (int tap = 0; tap < length + span - 1; ++tap) {
      float weight = 0.0f;
      for (int k = 0; k < span; ++k)
        if (tap - k >= 0 && tap - k < length) weight += scale[k] * (gain * kernel[tap - k] + lean * tilt[tap - k]);
      row[tap] = weight / (float)axis.decimate;
    }
    rows->first[i] = (axis.first + (int)whole - (cubic ? 1 : 0)) * axis.decimate;
  }
  if (threadIdx.x == 0) rows->taps = length + span - 1;
  __syncthreads();
}

// The sum of one output's taps along a row of samples that lie stride apart, the first of them at the pointer.
template <typename Sample>
__device__ __forceinline__ float across_row(const Sample *at, int stride, int decimate, const float *weights, int taps) {
  float sum = 0.0f;
  if (decimate == 1) {
    for (int tap = 0; tap < taps; ++tap, at += stride) sum += weights[tap] * (float)*at;
    return sum;
  }
  for (int tap = 0; tap < taps; ++tap) {
    float part = 0.0f;
    for (int k = 0; k < decimate; ++k, at += stride) part += (float)*at;
    sum += weights[tap] * part;
  }
  return sum;
}

// The same where some of the samples lie beyond the picture: its edge is repeated.
template <typename Sample>
__device__ float across_edge(const Sample *row, int from, int size, int stride, int decimate, const float *weights,
                             int taps) {
  float sum = 0.0f;
  for (int tap = 0; tap < taps; ++tap) {
    float part = 0.0f;
    for (int k = 0; k < decimate; ++k, ++from) part += (float)row[(long long)clamp_int(from, 0, size - 1) * stride];
    sum += weights[tap] * part;
  }
  return sum;
}

template <typename Sample>
__device__ __forceinline__ float across(const Sample *row, int from, const ComposeAxis &axis, int stride,
                                        const float *weights, int taps) {
  if (from >= 0 && from + taps * axis.decimate <= axis.size)
    return across_row(row + (long long)from * stride, stride, axis.decimate, weights, taps);
  return across_edge(row, from, axis.size, stride, axis.decimate, weights, taps);
}

// One plane at columns.count x rows.count outputs into out (row length TILE + 1); samples lie stride apart.
//
// Threads are numbered in rows of 16 or 32 whatever the width: dividing by it would cost more than the taps.
__device__ void resample_block(const u8 *plane, long long pitch, int stride, int channel, int wide,
                               const ComposeAxis &axis, const ComposeAxis &down, const Rows *columns, int width,
                               const Rows *lines, int height, float *strip, float *out) {
  int shift = width > TILE / 2 ? 5 : 4, mask = (1 << shift) - 1;
  for (int i = threadIdx.x; i < height << shift; i += blockDim.x)
    if ((i & mask) < width) out[(i >> shift) * (TILE + 1) + (i & mask)] = 0.0f;
  int reach_x = columns->taps, reach_y = lines->taps * down.decimate;
  int low = lines->first[0], high = lines->first[height - 1] + reach_y;
  for (int top = low; top < high; top += STRIP) {
    int strip_rows = high - top < STRIP ? high - top : STRIP;
    __syncthreads();
    for (int i = threadIdx.x; i < strip_rows << shift; i += blockDim.x) {
      int column = i & mask, row = i >> shift;
      if (column >= width) continue;
      long long base = (long long)clamp_int(top + row, 0, down.size - 1) * pitch + channel;
      const float *weights = columns->weights + column * MAX_TAPS;
      int from = columns->first[column];
      strip[row * (TILE + 1) + column] = wide ? across((const u16 *)plane + base, from, axis, stride, weights, reach_x)
                                              : across(plane + base, from, axis, stride, weights, reach_x);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < height << shift; i += blockDim.x) {
      int column = i & mask, row = i >> shift;
      if (column >= width) continue;
      int from = lines->first[row];
      int begin = from > top ? from : top;
      int end = from + reach_y < top + strip_rows ? from + reach_y : top + strip_rows;
      if (begin >= end) continue;
      const float *weights = lines->weights + row * MAX_TAPS, *at = strip + (begin - top) * (TILE + 1) + column;
      float sum = 0.0f;
      if (down.decimate == 1) {
        weights += begin - from;
        for (int line = begin; line < end; ++line, ++weights, at += TILE + 1) sum += *weights * *at;
      } else {
        int tap = (begin - from) / down.decimate, turn = (begin - from) % down.decimate;
        for (int line = begin; line < end; ++line, at += TILE + 1) {
          sum += weights[tap] * *at;
          if (++turn == down.decimate) turn = 0, ++tap;
        }
      }
      out[row * (TILE + 1) + column] += sum;
    }
  }
  __syncthreads();
}

// Where output (x, y) of the turned picture comes from in the stored one of the given size.
__device__ __forceinline__ void unturn(int turns, int width, int height, int x, int y, int *column, int *row) {
  *column = turns == 0 ? x : (turns == 1 ? y : (turns == 2 ? width - 1 - x : width - 1 - y));
  *row = turns == 0 ? y : (turns == 1 ? height - 1 - x : (turns == 2 ? height - 1 - y : x));
}

__device__ __forceinline__ void store(const ComposeJob &job, long long index, float value) {
  if (job.deep)
    ((u16 *)job.canvas)[index] = (u16)((int)clamp_float(floorf(value * 4.0f + 0.5f), 0.0f, 1023.0f) << 6);
  else
    ((u8 *)job.canvas)[index] = (u8)clamp_float(floorf(value + 0.5f), 0.0f, 255.0f);
}

// The stored rectangle behind the turned one [x0, x1) x [y0, y1).
__device__ __forceinline__ void stored_rectangle(int turns, int width, int height, int x0, int y0, int x1, int y1,
                                                 int *left, int *top, int *wide, int *high) {
  int ax, ay, bx, by;
  unturn(turns, width, height, x0, y0, &ax, &ay);
  unturn(turns, width, height, x1 - 1, y1 - 1, &bx, &by);
  *left = ax < bx ? ax : bx;
  *top = ay < by ? ay : by;
  *wide = (ax < bx ? bx - ax : ax - bx) + 1;
  *high = (ay < by ? by - ay : ay - by) + 1;
}

extern "C" __global__ void compose(const ComposeJob *jobs) {
  __shared__ Rows columns, lines;
  __shared__ float kernel[MAX_KERNEL], tilt[MAX_KERNEL];
  __shared__ float strip[STRIP * (TILE + 1)];
  __shared__ float luma[TILE * (TILE + 1)];
  __shared__ float chroma[2][CHROMA_TILE * (TILE + 1)];
  const ComposeJob &job = jobs[blockIdx.z];
  int x0 = blockIdx.x * TILE, y0 = blockIdx.y * TILE;
  if (x0 >= job.width || y0 >= job.height) return;
  int x1 = x0 + TILE < job.width ? x0 + TILE : job.width, y1 = y0 + TILE < job.height ? y0 + TILE : job.height;
  const u8 *slot = (const u8 *)job.slot;
  int bytes = job.wide ? 2 : 1;
  int left, top, wide, high;

  // Chroma first: one sample more on each side where luma will ask for it.
  int chroma_width = job.width / 2, chroma_height = job.height / 2;
  int cx0 = x0 / 2, cy0 = y0 / 2, cx1 = x1 / 2, cy1 = y1 / 2;
  int px0 = cx0, py0 = cy0, px1 = cx1, py1 = cy1;
  if (job.mixes) {
    py0 = py0 > 0 ? py0 - 1 : 0;
    py1 = py1 < chroma_height ? py1 + 1 : chroma_height;
    px1 = px1 < chroma_width ? px1 + 1 : chroma_width;
  }
  stored_rectangle(job.turns, job.chroma_x.count, job.chroma_y.count, px0, py0, px1, py1, &left, &top, &wide, &high);
  make_rows(job.chroma_x, 0, left, wide, kernel, tilt, &columns);
  make_rows(job.chroma_y, 0, top, high, kernel, tilt, &lines);
  const u8 *pairs = slot + (long long)job.slot_rows * job.pitch * bytes;
  for (int channel = 0; channel < 2; ++channel)
    resample_block(pairs, job.pitch, 2, channel, job.wide, job.chroma_x, job.chroma_y, &columns, wide, &lines, high,
                   strip, chroma[channel]);
  for (int i = threadIdx.x; i < wide * high; i += blockDim.x) {
    int at = i / wide * (TILE + 1) + i % wide;
    for (int channel = 0; channel < 2; ++channel)
      chroma[channel][at] = job.chroma_gain * chroma[channel][at] + job.chroma_offset - 128.0f;
  }
  __syncthreads();
  long long plane = (long long)job.canvas_rows * job.canvas_pitch;
  for (int i = threadIdx.x; i < (cx1 - cx0) * (cy1 - cy0); i += blockDim.x) {
    int x = cx0 + i % (cx1 - cx0), y = cy0 + i / (cx1 - cx0), column, row;
    unturn(job.turns, job.chroma_x.count, job.chroma_y.count, x, y, &column, &row);
    int at = (row - top) * (TILE + 1) + column - left;
    float u = chroma[0][at], v = chroma[1][at];
    long long to = plane + (long long)(job.y / 2 + y) * job.canvas_pitch + job.x + 2 * x;
    store(job, to, job.chroma_mix[0] * u + job.chroma_mix[1] * v + 128.0f);
    store(job, to + 1, job.chroma_mix[2] * u + job.chroma_mix[3] * v + 128.0f);
  }
  int chroma_left = left, chroma_top = top;
  __syncthreads();

  stored_rectangle(job.turns, job.luma_x.count, job.luma_y.count, x0, y0, x1, y1, &left, &top, &wide, &high);
  make_rows(job.luma_x, 1, left, wide, kernel, tilt, &columns);
  make_rows(job.luma_y, 1, top, high, kernel, tilt, &lines);
  resample_block(slot, job.pitch, 1, 0, job.wide, job.luma_x, job.luma_y, &columns, wide, &lines, high, strip, luma);
  for (int i = threadIdx.x; i < (x1 - x0) * (y1 - y0); i += blockDim.x) {
    int x = x0 + i % (x1 - x0), y = y0 + i / (x1 - x0), column, row;
    unturn(job.turns, job.luma_x.count, job.luma_y.count, x, y, &column, &row);
    float value = job.luma_gain * luma[(row - top) * (TILE + 1) + column - left] + job.luma_offset;
    if (job.mixes) {
      // Chroma at this luma sample: sited on even columns, between rows; linear, the edge repeated.
      int near_y = y / 2, far_y = clamp_int(y & 1 ? near_y + 1 : near_y - 1, 0, chroma_height - 1);
      int near_x = x / 2, far_x = clamp_int(near_x + (x & 1), 0, chroma_width - 1);
      float added = 0.0f;
      for (int k = 0; k < 4; ++k) {
        unturn(job.turns, job.chroma_x.count, job.chroma_y.count, k & 1 ? far_x : near_x, k & 2 ? far_y : near_y,
               &column, &row);
        int at = (row - chroma_top) * (TILE + 1) + column - chroma_left;
        added += (k & 2 ? 0.25f : 0.75f) * 0.5f * (job.luma_mix[0] * chroma[0][at] + job.luma_mix[1] * chroma[1][at]);
      }
      value += added;
    }
    store(job, (long long)(job.y + y) * job.canvas_pitch + job.x + x, value);
  }
}

// Black where no tile will lie; one block per so many samples of each canvas. Grid: (samples / block, canvases).
extern "C" __global__ void blacken(const u64 *canvases, int pitch, int rows, int deep) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, luma = pitch * rows;
  if (i >= luma + luma / 2) return;
  int level = i < luma ? 16 : 128;
  if (deep) ((u16 *)canvases[blockIdx.y])[i] = (u16)(level << 8);
  else ((u8 *)canvases[blockIdx.y])[i] = (u8)level;
}
