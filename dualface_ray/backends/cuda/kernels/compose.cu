// Tiles of planned pictures from pool slots to canvases; two launches for all tiles of a chunk.
//
// The definition is dualface_ray.compose (axis_stages, colour_transform, compose_reference). compose_rows writes the
// weights of every output of the four axes of each job into device memory: they depend on the job alone, and making
// them in each of the thousand blocks of a tile took as long as using them. compose draws: a block makes 32 x 32 luma
// samples of one tile and the 16 x 16 chroma samples beside them. It walks down the source in strips: each strip is
// filtered across into shared memory, and every output takes its share. The picture is made in stored orientation and
// turned when it is written.
//
// compose's registers are capped so that as many blocks as the memory they share allows are on a multiprocessor at
// once: most of a block's time is waiting.
// Grids: compose_rows (spans of an axis, 4 axes, jobs), compose (blocks across, blocks down, jobs).

#define TILE 32
#define STRIP 16
#define MAX_KERNEL 24
#define MAX_TAPS (MAX_KERNEL + 3)
#define CHROMA_TILE (TILE / 2 + 2)
#define CHROMA_ROW (CHROMA_TILE + 1)
#define ROWS_SPAN 128
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define RESIDENT 3
#else
#define RESIDENT 6
#endif

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

// The rows of one axis in device memory: tap by tap one weight of every output, at last the outputs' first samples.
// What belongs to neighbouring outputs lies side by side; each part's length is rounded up so that all start alike.
struct AxisRows {
  float *weights;
  int *first;  // first source sample, not clamped
  int taps;    // on the decimated axis
  int length;
};

struct Rows {  // weights of up to TILE outputs of one axis
  float weights[MAX_TAPS * TILE];  // tap by tap
  int first[TILE];
};

struct alignas(8) Pair {  // of chroma: one access moves both
  float u, v;
};

__device__ __forceinline__ int kernel_taps(const ComposeAxis &axis) { return axis.reach ? 2 * axis.reach : 1; }

// The rows of axis 0..3 of a job (luma x and y, chroma x and y); the job's own start at the pointer.
__device__ __forceinline__ AxisRows rows_of(const ComposeJob &job, int number, float *rows) {
  const ComposeAxis *axes[4] = {&job.luma_x, &job.luma_y, &job.chroma_x, &job.chroma_y};
  AxisRows found;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i > number) break;
    found.taps = kernel_taps(*axes[i]) + (i < 2 ? 3 : 1);
    found.length = (axes[i]->count + TILE - 1) / TILE * TILE;
    found.weights = rows;
    found.first = (int *)(rows + found.taps * found.length);
    rows += (found.taps + 1) * found.length;
  }
  return found;
}

__device__ __forceinline__ float sinc(float x) {
  float angle = 3.14159265358979f * x;
  return fabsf(x) < 1e-6f ? 1.0f : sinf(angle) / angle;
}

// The weights of axis_taps for every output of one axis, before the decimated samples are spelled out.
//
// The kernel is a Lanczos window, tilted by a small odd term so that it keeps constants and slopes exactly. A job has
// the given number of words in rows.
extern "C" __global__ void compose_rows(const ComposeJob *__restrict__ jobs, float *__restrict__ rows, int words) {
  __shared__ float kernel[MAX_KERNEL], tilt[MAX_KERNEL];
  const ComposeJob &job = jobs[blockIdx.z];
  int number = blockIdx.y, cubic = number < 2;
  const ComposeAxis &axis = cubic ? (number ? job.luma_y : job.luma_x) : (number == 2 ? job.chroma_x : job.chroma_y);
  int low = blockIdx.x * ROWS_SPAN, high = low + ROWS_SPAN < axis.count ? low + ROWS_SPAN : axis.count;
  if (low >= high) return;
  AxisRows to = rows_of(job, number, rows + (long long)blockIdx.z * words);
  int length = kernel_taps(axis);
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
  float share = 1.0f / (float)axis.decimate;  // a power of two: exact
  for (int i = low + threadIdx.x; i < high; i += blockDim.x) {
    double position = ((double)(i + axis.lead) + 0.5) * axis.step - 0.5;
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
      scale[2] = scale[3] = 0.0f;
    }
    float *weights = to.weights + i;
    for (int tap = 0; tap < to.taps; ++tap, weights += to.length) {
      float weight = 0.0f;
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (k < span && tap >= k && tap - k < length)
          weight += scale[k] * (gain * kernel[tap - k] + lean * tilt[tap - k]);
      *weights = weight * share;
    }
    to.first[i] = (axis.first + (int)whole - (cubic ? 1 : 0)) * axis.decimate;
  }
}

// The rows of outputs low .. low + count - 1.
__device__ __forceinline__ void load_rows(const AxisRows &from, int low, int count, Rows *rows) {
  int shift = count > TILE / 2 ? 5 : 4, mask = (1 << shift) - 1;
  for (int i = threadIdx.x; i < from.taps << shift; i += blockDim.x)
    if ((i & mask) < count)
      rows->weights[(i >> shift) * TILE + (i & mask)] = from.weights[(i >> shift) * from.length + low + (i & mask)];
  for (int i = threadIdx.x; i < count; i += blockDim.x) rows->first[i] = from.first[low + i];
}

// Samples that share their weights: two rows of luma, or both channels of one row of chroma.
template <typename Sample>
struct TwoRows {
  const Sample *one, *other;
  __device__ __forceinline__ void skip(int count) { one += count, other += count; }
  __device__ __forceinline__ Pair at(int index) const { return Pair{(float)one[index], (float)other[index]}; }
};

struct Pairs8 {
  const u16 *row;
  __device__ __forceinline__ void skip(int count) { row += count; }
  __device__ __forceinline__ Pair at(int index) const {
    u32 both = row[index];
    return Pair{(float)(both & 0xffu), (float)(both >> 8)};
  }
};

struct Pairs16 {
  const u32 *row;
  __device__ __forceinline__ void skip(int count) { row += count; }
  __device__ __forceinline__ Pair at(int index) const {
    u32 both = row[index];
    return Pair{(float)(both & 0xffffu), (float)(both >> 16)};
  }
};

// The sums of one output's taps along both rows, from the given sample on; the edge of the picture is repeated.
template <typename Source>
__device__ __forceinline__ Pair across(Source source, int from, const ComposeAxis &axis, const float *weights,
                                       int taps) {
  Pair sum = {0.0f, 0.0f};
  int decimate = axis.decimate;
  if (from < 0 || from + taps * decimate > axis.size) {
    for (int tap = 0; tap < taps; ++tap, weights += TILE) {
      Pair part = {0.0f, 0.0f};
      for (int k = 0; k < decimate; ++k, ++from) {
        Pair one = source.at(clamp_int(from, 0, axis.size - 1));
        part.u += one.u, part.v += one.v;
      }
      sum.u += *weights * part.u, sum.v += *weights * part.v;
    }
    return sum;
  }
  source.skip(from);
  if (decimate == 1) {
#pragma unroll 4
    for (int tap = 0; tap < taps; ++tap) {
      Pair one = source.at(tap);
      sum.u += weights[tap * TILE] * one.u, sum.v += weights[tap * TILE] * one.v;
    }
    return sum;
  }
  for (int tap = 0; tap < taps; ++tap, weights += TILE, source.skip(decimate)) {
    Pair part = {0.0f, 0.0f};
    for (int k = 0; k < decimate; ++k) {
      Pair one = source.at(k);
      part.u += one.u, part.v += one.v;
    }
    sum.u += *weights * part.u, sum.v += *weights * part.v;
  }
  return sum;
}

__device__ __forceinline__ void add_weighted(float *sum, float weight, float value) { *sum += weight * value; }
__device__ __forceinline__ void add_weighted(Pair *sum, float weight, const Pair &value) {
  sum->u += weight * value.u, sum->v += weight * value.v;
}
__device__ __forceinline__ void add_to(float *sum, float value) { *sum += value; }
__device__ __forceinline__ void add_to(Pair *sum, const Pair &value) { sum->u += value.u, sum->v += value.v; }

// What the strip [top, bottom) of the source gives to an output whose taps start at from; row: words from line to line.
template <typename Value, int row>
__device__ __forceinline__ void add_strip(const Value *strip, int top, int bottom, int from, int decimate, int taps,
                                          const float *weights, Value *out) {
  int reach = taps * decimate;
  int begin = from > top ? from : top, end = from + reach < bottom ? from + reach : bottom;
  if (begin >= end) return;
  const Value *at = strip + (begin - top) * row;
  Value sum = {};
  if (decimate == 1) {
    weights += (begin - from) * TILE;
    int lines = end - begin;
#pragma unroll 4
    for (int line = 0; line < lines; ++line) add_weighted(&sum, weights[line * TILE], at[line * row]);
  } else {
    int tap = (begin - from) / decimate, turn = (begin - from) % decimate;
    for (int line = begin; line < end; ++line, at += row) {
      add_weighted(&sum, weights[tap * TILE], *at);
      if (++turn == decimate) turn = 0, ++tap;
    }
  }
  add_to(out, sum);
}

// Luma at width x height outputs into out. Threads are numbered in rows of 32 whatever the width: dividing by it would
// cost more than the taps.
template <typename Sample>
__device__ __forceinline__ void luma_block(const Sample *plane, int pitch, const ComposeAxis &axis,
                                           const ComposeAxis &down, const Rows *columns, int width, int column_taps,
                                           const Rows *lines, int height, int line_taps, float *strip, float *out) {
  const int half = STRIP / 2, row = TILE + 1;
  for (int i = threadIdx.x; i < height * TILE; i += blockDim.x) out[i / TILE * row + i % TILE] = 0.0f;
  int low = lines->first[0], high = lines->first[height - 1] + line_taps * down.decimate;
  for (int top = low; top < high; top += STRIP) {
    int bottom = top + STRIP < high ? top + STRIP : high;
    __syncthreads();
    for (int i = threadIdx.x; i < half * TILE; i += blockDim.x) {
      int column = i % TILE, line = i / TILE;
      if (column >= width || top + line >= bottom) continue;
      TwoRows<Sample> source = {plane + clamp_int(top + line, 0, down.size - 1) * pitch,
                                plane + clamp_int(top + line + half, 0, down.size - 1) * pitch};
      Pair sum = across(source, columns->first[column], axis, columns->weights + column, column_taps);
      strip[line * row + column] = sum.u;
      strip[(line + half) * row + column] = sum.v;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < height * TILE; i += blockDim.x) {
      int column = i % TILE, line = i / TILE;
      if (column < width)
        add_strip<float, row>(strip + column, top, bottom, lines->first[line], down.decimate, line_taps,
                              lines->weights + line, out + line * row + column);
    }
  }
  __syncthreads();
}

// The same for both channels of chroma, in rows of 16 threads where that is wide enough.
template <typename Source, typename Both>
__device__ __forceinline__ void chroma_block(const Both *plane, int pitch, const ComposeAxis &axis,
                                             const ComposeAxis &down, const Rows *columns, int width, int column_taps,
                                             const Rows *lines, int height, int line_taps, Pair *strip, Pair *out) {
  const int row = CHROMA_ROW;
  int shift = width > TILE / 2 ? 5 : 4, mask = (1 << shift) - 1;
  for (int i = threadIdx.x; i < height << shift; i += blockDim.x)
    if ((i & mask) < width) out[(i >> shift) * row + (i & mask)] = Pair{0.0f, 0.0f};
  int low = lines->first[0], high = lines->first[height - 1] + line_taps * down.decimate;
  for (int top = low; top < high; top += STRIP) {
    int bottom = top + STRIP < high ? top + STRIP : high;
    __syncthreads();
    for (int i = threadIdx.x; i < (bottom - top) << shift; i += blockDim.x) {
      int column = i & mask, line = i >> shift;
      if (column >= width) continue;
      Source source = {plane + clamp_int(top + line, 0, down.size - 1) * pitch};
      strip[line * row + column] = across(source, columns->first[column], axis, columns->weights + column, column_taps);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < height << shift; i += blockDim.x) {
      int column = i & mask, line = i >> shift;
      if (column < width)
        add_strip<Pair, row>(strip + column, top, bottom, lines->first[line], down.decimate, line_taps,
                             lines->weights + line, out + line * row + column);
    }
  }
  __syncthreads();
}

// Where output (x, y) of the turned picture comes from in the stored one of the given size.
__device__ __forceinline__ void unturn(int turns, int width, int height, int x, int y, int *column, int *row) {
  *column = turns == 0 ? x : (turns == 1 ? y : (turns == 2 ? width - 1 - x : width - 1 - y));
  *row = turns == 0 ? y : (turns == 1 ? height - 1 - x : (turns == 2 ? height - 1 - y : x));
}

__device__ __forceinline__ u32 level(int deep, float value) {
  return deep ? (u32)((int)clamp_float(floorf(value * 4.0f + 0.5f), 0.0f, 1023.0f) << 6)
              : (u32)clamp_float(floorf(value + 0.5f), 0.0f, 255.0f);
}

// Chroma of a canvas, around zero.
__device__ __forceinline__ Pair levelled(const ComposeJob &job, const Pair &found) {
  return Pair{job.chroma_gain * found.u + job.chroma_offset - 128.0f,
              job.chroma_gain * found.v + job.chroma_offset - 128.0f};
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

extern "C" __global__ void __launch_bounds__(256, RESIDENT) compose(const ComposeJob *__restrict__ jobs,
                                                                     const float *__restrict__ rows, int words) {
  __shared__ Rows columns, lines;
  __shared__ float strip[STRIP * (TILE + 1)];
  __shared__ float luma[TILE * (TILE + 1)];
  __shared__ Pair pair_strip[STRIP * CHROMA_ROW];
  __shared__ Pair chroma[CHROMA_TILE * CHROMA_ROW];
  const ComposeJob &job = jobs[blockIdx.z];
  int x0 = blockIdx.x * TILE, y0 = blockIdx.y * TILE;
  if (x0 >= job.width || y0 >= job.height) return;
  int x1 = x0 + TILE < job.width ? x0 + TILE : job.width, y1 = y0 + TILE < job.height ? y0 + TILE : job.height;
  float *own = (float *)rows + (long long)blockIdx.z * words;
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
  AxisRows over = rows_of(job, 2, own), down = rows_of(job, 3, own);
  load_rows(over, left, wide, &columns);
  load_rows(down, top, high, &lines);
  __syncthreads();
  long long below = (long long)job.slot_rows * job.pitch;
  if (job.wide)
    chroma_block<Pairs16>((const u32 *)((const u16 *)job.slot + below), job.pitch / 2, job.chroma_x, job.chroma_y,
                          &columns, wide, over.taps, &lines, high, down.taps, pair_strip, chroma);
  else
    chroma_block<Pairs8>((const u16 *)((const u8 *)job.slot + below), job.pitch / 2, job.chroma_x, job.chroma_y,
                         &columns, wide, over.taps, &lines, high, down.taps, pair_strip, chroma);
  int chroma_left = left, chroma_top = top;

  // Luma's rows arrive while chroma is written: nobody reads the old ones any more.
  stored_rectangle(job.turns, job.luma_x.count, job.luma_y.count, x0, y0, x1, y1, &left, &top, &wide, &high);
  over = rows_of(job, 0, own), down = rows_of(job, 1, own);
  load_rows(over, left, wide, &columns);
  load_rows(down, top, high, &lines);
  long long plane = (long long)job.canvas_rows * job.canvas_pitch;
  for (int i = threadIdx.x; i < (cy1 - cy0) * (TILE / 2); i += blockDim.x) {
    int x = cx0 + i % (TILE / 2), y = cy0 + i / (TILE / 2), column, row;
    if (x >= cx1) continue;
    unturn(job.turns, job.chroma_x.count, job.chroma_y.count, x, y, &column, &row);
    Pair found = levelled(job, chroma[(row - chroma_top) * CHROMA_ROW + column - chroma_left]);
    long long to = (plane + (long long)(job.y / 2 + y) * job.canvas_pitch + job.x) / 2 + x;
    u32 u = level(job.deep, job.chroma_mix[0] * found.u + job.chroma_mix[1] * found.v + 128.0f);
    u32 v = level(job.deep, job.chroma_mix[2] * found.u + job.chroma_mix[3] * found.v + 128.0f);
    if (job.deep) ((u32 *)job.canvas)[to] = u | v << 16;
    else ((u16 *)job.canvas)[to] = (u16)(u | v << 8);
  }
  __syncthreads();

  if (job.wide)
    luma_block((const u16 *)job.slot, job.pitch, job.luma_x, job.luma_y, &columns, wide, over.taps, &lines, high,
               down.taps, strip, luma);
  else
    luma_block((const u8 *)job.slot, job.pitch, job.luma_x, job.luma_y, &columns, wide, over.taps, &lines, high,
               down.taps, strip, luma);
  for (int i = threadIdx.x; i < (y1 - y0) * TILE; i += blockDim.x) {
    int x = x0 + i % TILE, y = y0 + i / TILE, column, row;
    if (x >= x1) continue;
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
        Pair found = levelled(job, chroma[(row - chroma_top) * CHROMA_ROW + column - chroma_left]);
        added += (k & 2 ? 0.25f : 0.75f) * 0.5f * (job.luma_mix[0] * found.u + job.luma_mix[1] * found.v);
      }
      value += added;
    }
    long long to = (long long)(job.y + y) * job.canvas_pitch + job.x + x;
    if (job.deep) ((u16 *)job.canvas)[to] = (u16)level(1, value);
    else ((u8 *)job.canvas)[to] = (u8)level(0, value);
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
