// CenterFace's four maps -> at most max_faces boxes, landmarks and scores per picture; one block a picture.
//
// The same rules as dualface_ray.detect.decode_outputs and suppress: peaks of the 3x3 neighbourhood above the
// threshold, ordered by score and then by position, each the mean over the cells around it whose scores come near,
// greedy suppression. Only CANDIDATES peaks are looked at; should
// a picture have more, the threshold is raised until they fit (by a histogram, so the result does not depend on
// the order in which threads run). Result per picture: count, then rows of 15 floats: x0 y0 x1 y1 score, 5 x (x, y).

#define CANDIDATES 1024
#define SCORE_BINS 1024
#define FACE_FLOATS 15
#define LOG_SIZE_LIMIT 8.0f
#define BLEND_CELLS 2
#define BLEND_SCORE 0.2f
#define BLEND_SIZE_SHARE 0.25f

__device__ __forceinline__ int is_peak(const float *heat, int rows, int columns, int row, int column, float limit) {
  float centre = heat[row * columns + column];
  if (!(centre > limit)) return 0;
  for (int dy = -1; dy <= 1; ++dy)
    for (int dx = -1; dx <= 1; ++dx) {
      int y = row + dy, x = column + dx;
      if (y < 0 || x < 0 || y >= rows || x >= columns) continue;
      if (heat[y * columns + x] > centre) return 0;
    }
  return 1;
}

__device__ __forceinline__ int score_bin(float score) {
  return clamp_int((int)(score * (float)SCORE_BINS), 0, SCORE_BINS - 1);
}

__device__ __forceinline__ u32 float_bits(float value) {
  union { float number; u32 bits; } both;
  both.number = value;
  return both.bits;
}

struct Maps {  // of one picture
  const float *heat, *size, *offset, *points;
  int rows, columns, cells;
};

// In pixels of the input.
struct Box {
  float x, y, width, height;
};

__device__ __forceinline__ Box box_at(const Maps &maps, int cell) {
  Box box;
  box.height = expf(fminf(maps.size[cell], LOG_SIZE_LIMIT)) * 4.0f;
  box.width = expf(fminf(maps.size[maps.cells + cell], LOG_SIZE_LIMIT)) * 4.0f;
  box.y = ((float)(cell / maps.columns) + maps.offset[cell] + 0.5f) * 4.0f - box.height * 0.5f;
  box.x = ((float)(cell % maps.columns) + maps.offset[maps.cells + cell] + 0.5f) * 4.0f - box.width * 0.5f;
  return box;
}

// Calls visit(cell, weight) for the peak and each neighbour that has a say in its face.
template <typename Visit>
__device__ __forceinline__ void blend(const Maps &maps, int peak, Visit visit) {
  float tall = BLEND_SIZE_SHARE * expf(fminf(maps.size[peak], LOG_SIZE_LIMIT));
  float wide = BLEND_SIZE_SHARE * expf(fminf(maps.size[maps.cells + peak], LOG_SIZE_LIMIT));
  int row = peak / maps.columns, column = peak % maps.columns;
  float lowest = maps.heat[peak] - BLEND_SCORE;
  for (int dy = -BLEND_CELLS; dy <= BLEND_CELLS; ++dy)
    for (int dx = -BLEND_CELLS; dx <= BLEND_CELLS; ++dx) {
      int y = row + dy, x = column + dx;
      if (y < 0 || x < 0 || y >= maps.rows || x >= maps.columns) continue;
      if (fabsf((float)dy) > tall || fabsf((float)dx) > wide) continue;
      float weight = maps.heat[y * maps.columns + x] - lowest;
      if (weight > 0.0f) visit(y * maps.columns + x, weight);
    }
}

// x0, y0, x1, y1 of the face at this peak.
__device__ __forceinline__ void face_box(const Maps &maps, int peak, float *result) {
  float all = 0.0f, sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  blend(maps, peak, [&](int cell, float weight) {
    Box box = box_at(maps, cell);
    all += weight;
    sum[0] += weight * box.x, sum[1] += weight * box.y;
    sum[2] += weight * (box.x + box.width), sum[3] += weight * (box.y + box.height);
  });
  for (int k = 0; k < 4; ++k) result[k] = sum[k] / all;
}

// Coordinate 0..9 of the landmarks of the face at this peak: x and y by turns.
__device__ __forceinline__ float face_landmark(const Maps &maps, int peak, int number) {
  float all = 0.0f, sum = 0.0f;
  blend(maps, peak, [&](int cell, float weight) {
    Box box = box_at(maps, cell);
    all += weight;
    sum += weight * (number % 2 ? maps.points[(long long)(number - 1) * maps.cells + cell] * box.height + box.y
                                : maps.points[(long long)(number + 1) * maps.cells + cell] * box.width + box.x);
  });
  return sum / all;
}

extern "C" __global__ void centerface(const float *heatmaps, const float *sizes, const float *offsets,
                                      const float *landmarks, int rows, int columns, float min_score, float max_iou,
                                      int max_faces, int *counts, float *faces) {
  __shared__ u64 keys[CANDIDATES];
  __shared__ float boxes[CANDIDATES * 4];
  __shared__ u8 gone[CANDIDATES];
  __shared__ int bins[SCORE_BINS];
  __shared__ int found, lowest_bin;
  int cells = rows * columns, picture = blockIdx.x;
  const float *heat = heatmaps + (long long)picture * cells;
  Maps maps = {heat, sizes + (long long)picture * cells * 2, offsets + (long long)picture * cells * 2,
               landmarks + (long long)picture * cells * 10, rows, columns, cells};

  for (int i = threadIdx.x; i < SCORE_BINS; i += blockDim.x) bins[i] = 0;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  for (int cell = threadIdx.x; cell < cells; cell += blockDim.x)
    if (is_peak(heat, rows, columns, cell / columns, cell % columns, min_score)) {
      atomicAdd(&bins[score_bin(heat[cell])], 1);
    }
  __syncthreads();
  if (threadIdx.x == 0) {
    int total = 0, bin = SCORE_BINS;
    while (bin > 0 && total + bins[bin - 1] <= CANDIDATES) total += bins[--bin];
    lowest_bin = bin;
  }
  __syncthreads();
  for (int cell = threadIdx.x; cell < cells; cell += blockDim.x)
    if (is_peak(heat, rows, columns, cell / columns, cell % columns, min_score) && score_bin(heat[cell]) >= lowest_bin) {
      int place = atomicAdd(&found, 1);
      // Scores are positive, so their bits order as they do; complemented, the best comes first, then by position.
      keys[place] = ((u64)(0xffffffffu - float_bits(heat[cell])) << 32) | (u32)cell;
    }
  __syncthreads();
  int total = found, padded = 1;
  while (padded < total) padded *= 2;
  for (int i = total + threadIdx.x; i < padded; i += blockDim.x) keys[i] = ~0ull;
  __syncthreads();
  for (int span = 2; span <= padded; span *= 2)
    for (int step = span / 2; step > 0; step /= 2) {
      for (int i = threadIdx.x; i < padded; i += blockDim.x) {
        int partner = i ^ step;
        if (partner > i) {
          int ascending = (i & span) == 0;
          u64 first = keys[i], second = keys[partner];
          if ((first > second) == ascending) {
            keys[i] = second;
            keys[partner] = first;
          }
        }
      }
      __syncthreads();
    }
  for (int i = threadIdx.x; i < total; i += blockDim.x) {
    face_box(maps, (int)(keys[i] & 0xffffffffu), boxes + 4 * i);
    gone[i] = 0;
  }
  __syncthreads();
  int kept = 0;  // the same in all threads
  for (int i = 0; i < total && kept < max_faces; ++i) {
    int alive = !gone[i];
    __syncthreads();
    if (alive) {
      const float *best = boxes + 4 * i;
      float area = (best[2] - best[0]) * (best[3] - best[1]);
      for (int j = i + 1 + threadIdx.x; j < total; j += blockDim.x) {
        const float *other = boxes + 4 * j;
        float width = fmaxf(fminf(best[2], other[2]) - fmaxf(best[0], other[0]), 0.0f);
        float height = fmaxf(fminf(best[3], other[3]) - fmaxf(best[1], other[1]), 0.0f);
        float both = area + (other[2] - other[0]) * (other[3] - other[1]);
        if (width * height > max_iou * (both - width * height)) gone[j] = 1;
      }
      int peak = (int)(keys[i] & 0xffffffffu);
      float *row = faces + ((long long)picture * max_faces + kept) * FACE_FLOATS;
      for (int k = threadIdx.x; k < FACE_FLOATS; k += blockDim.x)
        row[k] = k < 4 ? best[k] : (k == 4 ? heat[peak] : face_landmark(maps, peak, k - 5));
      kept += 1;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) counts[picture] = kept;
}
