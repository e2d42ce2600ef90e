// Appearance descriptors: means of Y, U and V over the cells of the regions around faces, then eight histograms.
//
// patches: one block a region, one thread a cell. The edges of the cells come from the host (dualface_ray.detect.cell_edges), so
// every backend looks at the same pixels; cells that are not wholly inside their plane are NaN. Cells larger than
// MOST samples in a direction are thinned out evenly.

#define CELLS 16
#define MOST 8

struct PatchItem {
  u64 slot;
  int pitch, slot_rows, wide;
  int luma_width, luma_height, chroma_width, chroma_height;
  int luma_x[CELLS + 1], luma_y[CELLS + 1], chroma_x[CELLS + 1], chroma_y[CELLS + 1];
};

__device__ __forceinline__ int cell_inside(int low, int high, int size) {
  return low >= 0 && high <= size && low < size;
}

extern "C" __global__ void patches(const PatchItem *items, float *out) {
  const PatchItem &item = items[blockIdx.x];
  const u8 *slot = (const u8 *)item.slot;
  long long chroma_base = (long long)item.slot_rows * item.pitch;
  for (int cell = threadIdx.x; cell < CELLS * CELLS; cell += blockDim.x) {
    int row = cell / CELLS, column = cell % CELLS;
    float *mean = out + ((long long)blockIdx.x * CELLS * CELLS + cell) * 3;
    int x0 = item.luma_x[column], x1 = item.luma_x[column + 1], y0 = item.luma_y[row], y1 = item.luma_y[row + 1];
    int u0 = item.chroma_x[column], u1 = item.chroma_x[column + 1];
    int v0 = item.chroma_y[row], v1 = item.chroma_y[row + 1];
    if (!cell_inside(x0, x1, item.luma_width) || !cell_inside(y0, y1, item.luma_height) ||
        !cell_inside(u0, u1, item.chroma_width) || !cell_inside(v0, v1, item.chroma_height)) {
      mean[0] = mean[1] = mean[2] = nanf("");
      continue;
    }
    if (x1 <= x0) x1 = x0 + 1;
    if (y1 <= y0) y1 = y0 + 1;
    if (u1 <= u0) u1 = u0 + 1;
    if (v1 <= v0) v1 = v0 + 1;
    int step_x = (x1 - x0) / MOST > 1 ? (x1 - x0) / MOST : 1, step_y = (y1 - y0) / MOST > 1 ? (y1 - y0) / MOST : 1;
    float sum = 0.0f, sum_u = 0.0f, sum_v = 0.0f;
    int count = 0;
    for (int y = y0; y < y1; y += step_y)
      for (int x = x0; x < x1; x += step_x, ++count) sum += sample(slot, (long long)y * item.pitch + x, item.wide);
    mean[0] = sum / (float)count;
    step_x = (u1 - u0) / MOST > 1 ? (u1 - u0) / MOST : 1;
    step_y = (v1 - v0) / MOST > 1 ? (v1 - v0) / MOST : 1;
    count = 0;
    for (int y = v0; y < v1; y += step_y)
      for (int x = u0; x < u1; x += step_x, ++count) {
        long long at = chroma_base + (long long)y * item.pitch + 2 * x;
        sum_u += sample(slot, at, item.wide);
        sum_v += sample(slot, at + 1, item.wide);
      }
    mean[1] = sum_u / (float)count;
    mean[2] = sum_v / (float)count;
  }
}

// describe: dualface_ray.detect.describe_appearance, one block a face; every sum is taken in one fixed order.

#define CELL_COUNT (CELLS * CELLS)
#define BLOCKS 8
#define HALF_CELLS (CELL_COUNT / 2)

struct FaceItem {
  int turns;    // clockwise quarters from stored to displayed
  float black;  // luma level of black
};

__device__ __forceinline__ int upright_cell(int turns, int row, int column) {
  int last = CELLS - 1;
  if (turns == 1) return (last - column) * CELLS + row;
  if (turns == 2) return (last - row) * CELLS + last - column;
  if (turns == 3) return column * CELLS + last - row;
  return row * CELLS + column;
}

__device__ __forceinline__ float fraction_of(float value) {
  return value - floorf(value);
}

extern "C" __global__ void describe(const float *patches, const FaceItem *faces, const float *tuning, float *out) {
  __shared__ float light[3][CELL_COUNT];        // luma above black, upright; negative where not seen
  __shared__ float place[BLOCKS][CELL_COUNT];   // 0..1; of each histogram's values
  __shared__ float weight[BLOCKS][CELL_COUNT];  // negative where not visible
  __shared__ float numbers[BLOCKS * 8];
  __shared__ float sums[3], counts[3], face_light, length;
  const FaceItem face = faces[blockIdx.x];
  const float *mine = patches + (long long)blockIdx.x * 3 * CELL_COUNT * 3;
  const float pi = 3.14159265358979f;
  float reach = tuning[0], low_stop = tuning[1], high_stop = tuning[2], weak = tuning[3], strong = tuning[4];
  for (int i = threadIdx.x; i < 3 * CELL_COUNT; i += blockDim.x) {
    int region = i / CELL_COUNT, cell = i % CELL_COUNT;
    float y = mine[(region * CELL_COUNT + upright_cell(face.turns, cell / CELLS, cell % CELLS)) * 3];
    light[region][cell] = y == y ? fmaxf(y - face.black, 1.0f) : -1.0f;
  }
  __syncthreads();
  for (int region = threadIdx.x; region < 3; region += blockDim.x) {
    float sum = 0.0f, count = 0.0f;
    for (int cell = 0; cell < CELL_COUNT; ++cell)
      if (light[region][cell] > 0.0f) {
        sum += light[region][cell];
        count += 1.0f;
      }
    sums[region] = sum;
    counts[region] = count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    float own = sums[2] / fmaxf(counts[2], 1.0f), rest = (sums[0] + sums[1]) / fmaxf(counts[0] + counts[1], 1.0f);
    face_light = fmaxf(counts[2] > 0.0f ? own : rest, 1.0f);
  }
  __syncthreads();
  for (int cell = threadIdx.x; cell < CELL_COUNT; cell += blockDim.x) {
    int row = cell / CELLS, column = cell % CELLS;
    for (int region = 0; region < 2; ++region) {
      const float *luma = light[region];
      float y = luma[cell];
      int seen = y > 0.0f;
      const float *sample_yuv = mine + (region * CELL_COUNT + upright_cell(face.turns, row, column)) * 3;
      float u = seen ? (sample_yuv[1] - 128.0f) / (y + 16.0f) : 0.0f;
      float v = seen ? (sample_yuv[2] - 128.0f) / (y + 16.0f) : 0.0f;
      float hue = fraction_of(atan2f(v, u) / (2.0f * pi)), strength = sqrtf(u * u + v * v);
      float colour = clamp_float((strength - weak) / (strong - weak), 0.0f, 1.0f);
      float stop = seen ? (log2f(y / face_light) - low_stop) / (high_stop - low_stop) : 0.0f;
      float edge = -1.0f, direction = 0.0f;
      if (row > 0 && row < CELLS - 1 && column > 0 && column < CELLS - 1) {
        float left = luma[cell - 1], right = luma[cell + 1], above = luma[cell - CELLS], below = luma[cell + CELLS];
        if (left > 0.0f && right > 0.0f && above > 0.0f && below > 0.0f) {
          float dx = log2f(right) - log2f(left), dy = log2f(below) - log2f(above);
          edge = fminf(sqrtf(dx * dx + dy * dy), 2.0f);
          direction = fraction_of(atan2f(dy, dx) / pi);
        }
      }
      if (region == 0) {
        place[0][cell] = hue;
        weight[0][cell] = seen ? fminf(strength, strong) : -1.0f;
        place[1][cell] = stop;
        weight[1][cell] = seen ? 1.0f : -1.0f;
        place[2][cell] = direction;
        weight[2][cell] = edge;
      } else {
        place[3][cell] = place[4][cell] = hue;
        weight[3][cell] = seen ? strength * (1.0f - colour) : -1.0f;
        weight[4][cell] = seen ? fminf(strength, 1.0f) * colour : -1.0f;
        place[5][cell] = place[6][cell] = stop;
        weight[5][cell] = seen && cell < HALF_CELLS ? 1.0f : -1.0f;
        weight[6][cell] = seen && cell >= HALF_CELLS ? 1.0f : -1.0f;
        place[7][cell] = direction;
        weight[7][cell] = edge;
      }
    }
  }
  __syncthreads();
  for (int number = threadIdx.x; number < BLOCKS * 8; number += blockDim.x) {
    int block = number / 8, wrap = block != 1 && block != 5 && block != 6;
    float bin = (float)(number % 8), total = 0.0f, count = 0.0f;
    for (int cell = 0; cell < CELL_COUNT; ++cell) {
      float amount = weight[block][cell];
      if (amount < 0.0f) continue;
      float at = place[block][cell] * 8.0f - 0.5f;
      if (!wrap) at = clamp_float(at, 0.0f, 7.0f);
      float distance = fabsf(at - bin);
      if (wrap) distance = fminf(distance, 8.0f - distance);
      total += amount * fmaxf(0.0f, 1.0f - distance / reach) / reach;
      count += 1.0f;
    }
    float value = sqrtf(total / fmaxf(count, 1.0f)) - tuning[5 + block];
    numbers[number] = count > 0.0f ? tuning[13 + block] * value : 0.0f;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (int number = 0; number < BLOCKS * 8; ++number) sum += numbers[number] * numbers[number];
    length = sum > 0.0f ? sqrtf(sum) : 1.0f;
  }
  __syncthreads();
  for (int number = threadIdx.x; number < BLOCKS * 8; number += blockDim.x)
    out[(long long)blockIdx.x * BLOCKS * 8 + number] = numbers[number] / length;
}
