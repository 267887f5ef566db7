// The losses of src/train/loss.rs and their derivatives by the logits, in float64: a block an example.

// How a step went, as in src/cuda/optimizer.rs; all float64, so that one copy brings it to the host.
struct Outcome {
    // The norm of all gradients; the sum of the examples' losses; how many were right.
    double norm, loss, correct;
    // 1 from the first step on that wasn't finite, until the host clears it: no update is made any more.
    double has_stopped;
};

// One example's part of it.
struct ExampleLoss {
    double loss, is_right;
};

// The highest of the block's threads, for each of them; NaN where there is one.
__device__ inline double block_highest(double x)
{
    __shared__ double all[256];
    __syncthreads();
    all[threadIdx.x] = x;
    __syncthreads();
    double highest = all[0];
    for (int thread = 1; thread < (int)blockDim.x; thread++)
        highest = all[thread] > highest || isnan(all[thread]) ? all[thread] : highest;
    return highest;
}

// Softmax cross entropy of each row with its label. `class_weights` may be null: all 1.
KERNEL(cross_entropy)(const float *logits, const int *labels, const double *class_weights, double label_smoothing,
                      double factor, float *derivative, ExampleLoss *losses, int num_labels)
{
    const long long row = (long long)blockIdx.x * num_labels;
    const int label = labels[blockIdx.x];
    const float own = logits[row + label];
    double highest = -INFINITY, wrong = 0.0;
    for (int place = threadIdx.x; place < num_labels; place += blockDim.x) {
        const float logit = logits[row + place];
        highest = logit > highest || isnan(logit) ? logit : highest;
        // Of equals the first is the answer.
        wrong += logit > own || (logit == own && place < label);
    }
    highest = block_highest(highest);
    wrong = block_sum(wrong);
    double sum = 0.0, whole = 0.0;
    const double even = label_smoothing / num_labels;
    for (int place = threadIdx.x; place < num_labels; place += blockDim.x) {
        sum += exp(logits[row + place] - highest);
        const double weight = class_weights ? class_weights[place] : 1.0;
        whole += ((place == label ? 1.0 - label_smoothing : 0.0) + even) * weight;
    }
    const double log_sum = highest + log(block_sum(sum));
    whole = block_sum(whole);
    double loss = 0.0;
    for (int place = threadIdx.x; place < num_labels; place += blockDim.x) {
        const double log_probability = logits[row + place] - log_sum;
        const double weight = class_weights ? class_weights[place] : 1.0;
        const double target = ((place == label ? 1.0 - label_smoothing : 0.0) + even) * weight;
        // Nothing of what has no share, were its probability 0.
        if (target > 0.0)
            loss -= target * log_probability;
        derivative[row + place] = (float)((whole * exp(log_probability) - target) * factor);
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0)
        losses[blockIdx.x] = {loss, wrong == 0.0 ? 1.0 : 0.0};
}
DECLARED(cross_entropy)

// Binary cross entropy of each logit's sigmoid with its target, 0 or 1; the mean over a row. Each label has a
// threshold.
KERNEL(binary_cross_entropy)(const float *logits, const float *targets, const double *thresholds, double factor,
                             float *derivative, ExampleLoss *losses, int num_labels)
{
    const long long row = (long long)blockIdx.x * num_labels;
    const double share = 1.0 / num_labels;
    double loss = 0.0, wrong = 0.0;
    for (int place = threadIdx.x; place < num_labels; place += blockDim.x) {
        const double x = logits[row + place], y = targets[row + place];
        loss += share * ((x > 0.0 || isnan(x) ? x : 0.0) - x * y + log1p(exp(-fabs(x))));
        const double probability = 1.0 / (1.0 + exp(-x));
        derivative[row + place] = (float)((probability - y) * share * factor);
        wrong += ((double)(float)probability >= thresholds[place]) != (y == 1.0);
    }
    loss = block_sum(loss);
    wrong = block_sum(wrong);
    if (threadIdx.x == 0)
        losses[blockIdx.x] = {loss, wrong == 0.0 ? 1.0 : 0.0};
}
DECLARED(binary_cross_entropy)

// Squared error, the mean over a row; its derivative is that of the error in `deviations`, one a place, where there are
// any.
KERNEL(squared_error)(const float *outputs, const float *targets, const double *deviations, double factor,
                      float *derivative, ExampleLoss *losses, int width)
{
    const long long row = (long long)blockIdx.x * width;
    const double share = 1.0 / width;
    double loss = 0.0;
    for (int place = threadIdx.x; place < width; place += blockDim.x) {
        const double difference = (double)outputs[row + place] - targets[row + place];
        loss += share * difference * difference;
        const double unit = deviations ? deviations[place] * deviations[place] : 1.0;
        derivative[row + place] = (float)(2.0 * difference * share * factor / unit);
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0)
        losses[blockIdx.x] = {loss, 0.0};
}
DECLARED(squared_error)

// Adds the examples' parts to the outcome; one block.
KERNEL(add_losses)(const ExampleLoss *losses, int count, Outcome *outcome)
{
    double loss = 0.0, correct = 0.0;
    for (int place = threadIdx.x; place < count; place += blockDim.x) {
        loss += losses[place].loss;
        correct += losses[place].is_right;
    }
    loss = block_sum(loss);
    correct = block_sum(correct);
    if (threadIdx.x == 0) {
        outcome->loss += loss;
        outcome->correct += correct;
    }
}
DECLARED(add_losses)
