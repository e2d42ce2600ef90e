// Means of Y, U and V over the cells of the regions around faces: the samples of an appearance descriptor.
//
// One block a region, one thread a cell. The edges of the cells come from the host (dualface_ray.detect.cell_edges), so
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
