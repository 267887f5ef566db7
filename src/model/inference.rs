//! The forward pass on the CPU outside training: nothing is kept for a backward pass, and of the last block only what the
//! answer reads is computed.
//!
//! Sequences go in groups whose states stay in the cache. Many groups go to a thread each; the work of a few is shared out
//! piece by piece ([`Team`]). A sequence's result doesn't depend on its group or on the threads, bit for bit.

use std::ops::Range;

use rayon::prelude::*;

use super::config::{BertConfig, Pooling};
use super::parameters::Parameters;
use super::prepared::{Prepared, PreparedFirstAttention, PreparedLayer, PreparedNorm};
use super::{InferencePrecision, Model};
use crate::data::Batch;
use crate::error::Result;
use crate::memory;
use crate::ops::aligned::Aligned;
use crate::ops::attend::{Attention, Part, attention};
use crate::ops::attend_first::{FirstTokens, attend_first};
use crate::ops::linear::{Act, Linear, Rows};
use crate::ops::norm::add_and_norm;
use crate::ops::team::Team;
use crate::ops::{Buffer, Buffers};
use crate::threads;

/// Tokens of a group, about: enough to read the weights for, and few enough for the second-level cache.
const GROUP_TOKENS: usize = 160;

/// With fewer tokens for each thread than this, threads share groups.
const TOKENS_A_THREAD: usize = 64;

/// Multiplications that a member of a team is worth joining for, about.
const WORK_A_MEMBER: usize = 1 << 21;

/// Memory of a pass, used again by the next.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    buffers: Buffers,
    rows: Rows,
    heads: Aligned,
}

/// What is computed of each sequence.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Class scores [num_labels].
    Logits,
    /// One vector [hidden_size].
    Pooled(Pooling),
}

/// The answers for all sequences, in their order.
pub(super) fn answers(
    model: &Model,
    precision: InferencePrecision,
    parameters: &Parameters,
    batch: &Batch,
    answer: Answer,
) -> Result<Vec<f32>> {
    let prepared = parameters.prepared(model, precision)?;
    let config = &model.config;
    let threads = threads::current_num_threads();
    let groups = cut(batch, threads)?;
    check_memory(config, batch, &groups, threads)?;
    let width = match answer {
        Answer::Logits => config.num_labels,
        Answer::Pooled(_) => config.hidden_size,
    };
    let mut all = memory::filled(0f32, batch.len() * width)?;
    // Threads that would have no group of their own at the end share the last ones.
    let alone = match groups.len() {
        many if many >= 4 * threads => many,
        few => few - few % threads,
    };
    let compute = |team: &Team<'_>, sequences: Range<usize>, out: &mut [f32]| -> Result<()> {
        model.with_workspace(|workspace| {
            let mut pass = Pass {
                config,
                prepared,
                batch,
                sequences,
                team,
                workspace,
            };
            let answers = pass.answers(answer)?;
            out.copy_from_slice(&answers);
            pass.workspace.buffers.give(answers);
            Ok(())
        })
    };
    let mut outs = memory::room(groups.len())?;
    let mut rest = all.as_mut_slice();
    for group in &groups {
        let (out, others) = rest.split_at_mut(group.len() * width);
        outs.push((group.clone(), out));
        rest = others;
    }
    let shared = outs.split_off(alone);
    if threads == 1 {
        for (group, out) in outs {
            compute(&Team::alone(), group, out)?;
        }
    } else {
        outs.into_par_iter()
            .with_max_len(1)
            .try_for_each(|(group, out)| compute(&Team::alone(), group, out))?;
    }
    for (group, out) in shared {
        let tokens: usize = group.clone().map(|index| batch.range(index).len()).sum();
        let work = tokens * model.config.work_a_token();
        let members = threads::share().min(work / WORK_A_MEMBER).max(1);
        Team::of(members, |team| compute(team, group, out))?;
    }
    Ok(all)
}

/// Cuts the sequences, in their order, into groups of about equal numbers of tokens.
fn cut(batch: &Batch, threads: usize) -> Result<Vec<Range<usize>>> {
    let tokens = batch.tokens();
    let count = if tokens < threads * TOKENS_A_THREAD {
        1
    } else {
        tokens.div_ceil(GROUP_TOKENS * threads) * threads
    };
    let mut groups = memory::room(count.min(batch.len()))?;
    let mut start = 0;
    for index in 0..batch.len() {
        // The group ends with the sequence that comes nearest to its share.
        let range = batch.range(index);
        let share = tokens as f64 * (groups.len() + 1) as f64 / count as f64;
        let is_last = index + 1 == batch.len();
        let next = if is_last {
            tokens
        } else {
            batch.range(index + 1).end
        };
        let is_nearest = (range.end as f64 - share).abs() <= (next as f64 - share).abs();
        if is_last || (range.end as f64 >= share || is_nearest) {
            memory::reserve(&mut groups, 1)?;
            groups.push(start..index + 1);
            start = index + 1;
        }
    }
    Ok(groups)
}

/// Refuses what this process can't hold before any of it is asked for.
fn check_memory(
    config: &BertConfig,
    batch: &Batch,
    groups: &[Range<usize>],
    threads: usize,
) -> Result<()> {
    let token = 4 * (8 * config.hidden_size + 2 * config.intermediate_size) as u128;
    // The last block's queries and contexts in the states' own space.
    let sequence = 4 * 2 * (config.num_attention_heads * config.hidden_size) as u128;
    let of = |group: &Range<usize>| {
        let tokens = batch.range(group.end - 1).end - batch.range(group.start).start;
        tokens as u128 * token + group.len() as u128 * sequence
    };
    let largest = groups.iter().map(of).max().unwrap_or(0);
    let bytes = largest * threads.min(groups.len()) as u128;
    memory::check(bytes, |most| {
        format!(
            "{} sequences of up to {} tokens need about {bytes} bytes of memory; this process can have {most}. Set a \
             smaller max_length.",
            batch.len(),
            batch.longest(),
        )
    })
}

/// One group's forward pass.
struct Pass<'a> {
    config: &'a BertConfig,
    prepared: &'a Prepared,
    batch: &'a Batch,
    /// The group.
    sequences: Range<usize>,
    team: &'a Team<'a>,
    workspace: &'a mut Workspace,
}

impl Pass<'_> {
    fn hidden(&self) -> usize {
        self.config.hidden_size
    }

    /// The group's first token in the batch.
    fn first(&self) -> usize {
        self.batch.offsets()[self.sequences.start]
    }

    fn tokens(&self) -> usize {
        self.batch.offsets()[self.sequences.end] - self.first()
    }

    /// Where sequence `number` of the group stands among the group's tokens.
    fn range(&self, number: usize) -> Range<usize> {
        let range = self.batch.range(self.sequences.start + number);
        range.start - self.first()..range.end - self.first()
    }

    fn answers(&mut self, answer: Answer) -> Result<Buffer> {
        let prepared = self.prepared;
        match answer {
            Answer::Pooled(pooling) => self.pooled(pooling),
            Answer::Logits => {
                let pooled = self.pooled(self.config.pooling)?;
                let logits = self.linear(&prepared.classifier, &pooled, 0..1)?;
                self.workspace.buffers.give(pooled);
                Ok(logits)
            }
        }
    }

    /// One vector a sequence, [sequences, hidden_size].
    fn pooled(&mut self, pooling: Pooling) -> Result<Buffer> {
        let prepared = self.prepared;
        let states = self.encode(pooling == Pooling::Mean)?;
        match (&prepared.pooler, pooling) {
            (_, Pooling::Mean) => {
                let mean = self.mean(&states)?;
                self.workspace.buffers.give(states);
                Ok(mean)
            }
            (Some(pooler), Pooling::Pooler) => {
                let dense = self.activated(pooler, &states, 0..1, Some(Act::Tanh))?;
                self.workspace.buffers.give(states);
                Ok(dense)
            }
            _ => Ok(states),
        }
    }

    /// The mean of each sequence's states.
    fn mean(&mut self, states: &[f32]) -> Result<Buffer> {
        let hidden = self.hidden();
        let mut means = self.workspace.buffers.take(self.sequences.len() * hidden)?;
        for (number, out) in means.chunks_exact_mut(hidden).enumerate() {
            let range = self.range(number);
            let share = 1.0 / range.len() as f32;
            out.fill(0.0);
            for row in states[range.start * hidden..range.end * hidden].chunks_exact(hidden) {
                for (out, value) in out.iter_mut().zip(row) {
                    *out += value * share;
                }
            }
        }
        Ok(means)
    }

    /// x Wᵀ + b of these sections.
    fn linear(&mut self, layer: &Linear, x: &[f32], sections: Range<usize>) -> Result<Buffer> {
        self.activated(layer, x, sections, None)
    }

    /// The activation of the same.
    fn activated(
        &mut self,
        layer: &Linear,
        x: &[f32],
        sections: Range<usize>,
        act: Option<Act>,
    ) -> Result<Buffer> {
        let Workspace { buffers, rows, .. } = &mut *self.workspace;
        let count = x.len() / layer.inputs();
        let mut out = buffers.take(count * sections.len() * layer.outputs())?;
        let states = layer.states(self.team, x, rows)?;
        layer.apply(self.team, states, sections, act, &mut out);
        Ok(out)
    }

    /// The last states: of all tokens, or of each sequence's first.
    fn encode(&mut self, of_all: bool) -> Result<Buffer> {
        let prepared = self.prepared;
        let mut states = self.embed()?;
        let last = prepared.layers.len() - 1;
        for (number, layer) in prepared.layers.iter().enumerate() {
            states = if number == last && !of_all {
                self.last_layer(layer, states)?
            } else {
                self.layer(layer, states)?
            };
        }
        if let Some(norm) = &prepared.final_norm {
            add_and_norm(self.team, norm.norm(), None, &mut states);
        }
        Ok(states)
    }

    /// `BertEmbeddings`.
    fn embed(&mut self) -> Result<Buffer> {
        let hidden = self.hidden();
        let mut states = self.workspace.buffers.take(self.tokens() * hidden)?;
        states.fill(0.0);
        let mut rows = states.chunks_exact_mut(hidden);
        for range in self.sequences.clone().map(|index| self.batch.range(index)) {
            for (position, token) in range.enumerate() {
                let Some(row) = rows.next() else { break };
                let word = self.batch.input_ids()[token] as usize;
                let token_type = self.batch.token_type_ids()[token] as usize;
                self.prepared.word.add(word, row);
                self.prepared.token_type.add(token_type, row);
                self.prepared.position.add(position, row);
            }
        }
        let norm = self.prepared.embeddings_norm.norm();
        add_and_norm(self.team, norm, None, &mut states);
        Ok(states)
    }

    /// One block: `BertLayer`.
    fn layer(&mut self, layer: &PreparedLayer, input: Buffer) -> Result<Buffer> {
        let hidden = self.hidden();
        let qkv = self.linear(&layer.qkv, &input, 0..3)?;
        let part = |number: usize| Part {
            states: &qkv[number * hidden..],
            stride: 3 * hidden,
        };
        let context = self.attention((part(0), false), part(1), part(2))?;
        self.workspace.buffers.give(qkv);
        self.after_attention(layer, context, input)
    }

    /// The same where only each sequence's first state is read afterwards.
    fn last_layer(&mut self, layer: &PreparedLayer, input: Buffer) -> Result<Buffer> {
        let hidden = self.hidden();
        let sequences = self.sequences.len();
        let mut first = self.workspace.buffers.take(sequences * hidden)?;
        for (number, row) in first.chunks_exact_mut(hidden).enumerate() {
            let start = self.range(number).start * hidden;
            row.copy_from_slice(&input[start..start + hidden]);
        }
        let query = self.linear(&layer.qkv, &first, 0..1)?;
        let context = match &self.prepared.first_attention {
            Some(projections) => self.first_attention(projections, &query, &input)?,
            None => {
                let key_value = self.linear(&layer.qkv, &input, 1..3)?;
                let part = |number: usize| Part {
                    states: &key_value[number * hidden..],
                    stride: 2 * hidden,
                };
                let first_rows = Part {
                    states: &query,
                    stride: hidden,
                };
                let context = self.attention((first_rows, true), part(0), part(1))?;
                self.workspace.buffers.give(key_value);
                context
            }
        };
        self.workspace.buffers.give(input);
        self.workspace.buffers.give(query);
        self.after_attention(layer, context, first)
    }

    /// The context of the sequences' first tokens, [sequences, hidden_size], without keys and values.
    fn first_attention(
        &mut self,
        projections: &PreparedFirstAttention,
        query: &[f32],
        states: &[f32],
    ) -> Result<Buffer> {
        let heads = self.config.num_attention_heads;
        let query = self.linear(&projections.key, query, 0..heads)?;
        let workspace = &mut *self.workspace;
        let mut of_states = workspace.buffers.take(query.len())?;
        let what = FirstTokens {
            offsets: &self.batch.offsets()[self.sequences.start..=self.sequences.end],
            heads,
            scale: 1.0 / (self.config.head_size() as f32).sqrt(),
            query: &query,
            states,
        };
        attend_first(self.team, what, &mut workspace.heads, &mut of_states)?;
        workspace.buffers.give(query);
        let context = self.linear(&projections.value, &of_states, 0..heads)?;
        self.workspace.buffers.give(of_states);
        Ok(context)
    }

    /// What a block does with its attention's context; `input` are the same rows of the block's input.
    fn after_attention(
        &mut self,
        layer: &PreparedLayer,
        context: Buffer,
        input: Buffer,
    ) -> Result<Buffer> {
        let middle = self.block(
            &layer.attention_output,
            &context,
            &input,
            &layer.attention_norm,
        )?;
        self.workspace.buffers.give(context);
        self.workspace.buffers.give(input);
        let act = Some(Act::Hidden(self.config.hidden_act));
        let inner = self.activated(&layer.intermediate, &middle, 0..1, act)?;
        let output = self.block(&layer.output, &inner, &middle, &layer.output_norm)?;
        self.workspace.buffers.give(inner);
        self.workspace.buffers.give(middle);
        Ok(output)
    }

    /// The norm of a layer's output and a residual.
    fn block(
        &mut self,
        layer: &Linear,
        x: &[f32],
        residual: &[f32],
        norm: &PreparedNorm,
    ) -> Result<Buffer> {
        let mut output = self.linear(layer, x, 0..1)?;
        add_and_norm(self.team, norm.norm(), Some(residual), &mut output);
        Ok(output)
    }

    /// The context [query rows, hidden_size]; the query rows are the sequences' first ones alone where that is said.
    fn attention(
        &mut self,
        (query, first_only): (Part<'_>, bool),
        key: Part<'_>,
        value: Part<'_>,
    ) -> Result<Buffer> {
        let rows = if first_only {
            self.sequences.len()
        } else {
            self.tokens()
        };
        let Workspace { buffers, heads, .. } = &mut *self.workspace;
        let mut context = buffers.take(rows * self.config.hidden_size)?;
        let what = Attention {
            offsets: &self.batch.offsets()[self.sequences.start..=self.sequences.end],
            heads: self.config.num_attention_heads,
            head_size: self.config.head_size(),
            query,
            first_only,
            key,
            value,
        };
        attention(self.team, what, heads, &mut context)?;
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::TrainingPass;
    use crate::model::lora::LoraConfig;
    use crate::model::quantized::quantized;
    use crate::ops::Precision;

    const LENGTHS: [usize; 9] = [5, 1, 33, 64, 2, 12, 31, 7, 50];

    fn batch(lengths: &[usize]) -> Batch {
        let ids: Vec<Vec<u32>> = lengths
            .iter()
            .enumerate()
            .map(|(row, &length)| {
                (0..length)
                    .map(|i| ((i * 7 + row * 13) % 60) as u32)
                    .collect()
            })
            .collect();
        let types: Vec<Vec<u32>> = lengths
            .iter()
            .map(|&length| (0..length).map(|i| u32::from(i > length / 2)).collect())
            .collect();
        Batch::pack(
            ids.iter()
                .zip(&types)
                .map(|(ids, types)| (ids.as_slice(), types.as_slice())),
        )
    }

    fn config(pooling: Pooling, final_layer_norm: bool) -> BertConfig {
        BertConfig {
            vocab_size: 60,
            // No multiple of any panel's columns, and heads of an odd size.
            hidden_size: 42,
            num_hidden_layers: 2,
            num_attention_heads: 6,
            intermediate_size: 70,
            max_position_embeddings: 64,
            initializer_range: 0.2,
            num_labels: 3,
            pooling,
            final_layer_norm,
            ..BertConfig::default()
        }
    }

    fn models() -> Vec<(Model, Parameters)> {
        let of = |model: Model| {
            let (config, table) = (&model.config, &model.table);
            let initial = Parameters::initialise(config, table, 5, &Device::Cpu).unwrap();
            // Nothing is zero, so that nothing can be left out unseen.
            let host = initial.host().unwrap();
            let values = host.iter().enumerate().map(|(index, values)| {
                let shift = |(i, x): (usize, &f32)| x + 0.1 * ((i + index) as f32).sin();
                values.iter().enumerate().map(shift).collect()
            });
            let values = Parameters::from_host(values.collect(), table, &Device::Cpu).unwrap();
            (model, values)
        };
        let mut models: Vec<(Model, Parameters)> = Vec::new();
        for pooling in [Pooling::Pooler, Pooling::Cls, Pooling::Mean] {
            for final_layer_norm in [false, true] {
                models.push(of(Model::new(
                    config(pooling, final_layer_norm),
                    Device::Cpu,
                )
                .unwrap()));
            }
        }
        models.push(of(Model::with_lora(
            config(Pooling::Pooler, false),
            LoraConfig::default(),
            Device::Cpu,
        )
        .unwrap()));
        models
    }

    fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(work)
    }

    #[test]
    fn answers_are_those_of_the_plain_definition() {
        let batch = batch(&LENGTHS);
        for (model, parameters) in models() {
            let tensors = parameters.tensors(&model.table).unwrap();
            let plain = model.plain_logits(&tensors, &batch).unwrap();
            let logits = model.logits(&parameters, &batch).unwrap();
            let mut all = vec![(logits, plain)];
            for pooling in [Pooling::Pooler, Pooling::Cls, Pooling::Mean] {
                if pooling != Pooling::Pooler || model.table.pooler.is_some() {
                    let plain = model.plain_pooled(&tensors, &batch, pooling).unwrap();
                    all.push((model.pooled(&parameters, &batch, pooling).unwrap(), plain));
                }
            }
            for (got, want) in all {
                assert_eq!(got.len(), want.len());
                for (got, want) in got.iter().zip(&want) {
                    assert!(
                        (got - want).abs() < 2e-5 * want.abs().max(1.0),
                        "{got} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn neither_threads_nor_company_change_a_bit() {
        let sequences = batch(&LENGTHS);
        for (model, parameters) in models() {
            let values = model.merged_values(&parameters).unwrap();
            let plain = Model::new(model.config.clone(), Device::Cpu).unwrap();
            let int8 = Parameters::Int8(quantized(&plain.table, &values).unwrap().into());
            for (model, parameters, precision) in [
                (&model, &parameters, InferencePrecision::Float32),
                (&model, &parameters, InferencePrecision::BFloat16),
                (&plain, &int8, InferencePrecision::Float32),
            ] {
                let logits = |threads: usize, batch: &Batch| {
                    with_threads(threads, || model.logits_in(precision, parameters, batch)).unwrap()
                };
                let one = logits(1, &sequences);
                for threads in [2, 3, 16] {
                    assert_eq!(one, logits(threads, &sequences));
                }
                for (index, row) in one.chunks(model.config.num_labels).enumerate() {
                    let alone = sequences.select(&[index]);
                    for threads in [1, 4] {
                        assert_eq!(logits(threads, &alone), row);
                    }
                }
            }
        }
    }

    #[test]
    fn int8_is_close_to_what_it_was_quantized_from() {
        let sequences = batch(&LENGTHS);
        for (model, parameters) in models() {
            let values = model.merged_values(&parameters).unwrap();
            let plain = Model::new(model.config.clone(), Device::Cpu).unwrap();
            let int8 = Parameters::Int8(quantized(&plain.table, &values).unwrap().into());
            let pooled = |model: &Model, of: &Parameters| {
                model.pooled(of, &sequences, Pooling::Mean).unwrap()
            };
            let (a, b) = (pooled(&model, &parameters), pooled(&plain, &int8));
            for (a, b) in a.chunks(42).zip(b.chunks(42)) {
                let dot =
                    |x: &[f32], y: &[f32]| -> f32 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                assert!(cosine > 0.99, "{cosine}");
            }
        }
    }

    /// Prediction in bfloat16 rounds what training in it rounds on the way forward, but for the last block where that
    /// reads no more than first states: there training multiplies keys' and values' weights in float32. float16 is
    /// float32 here.
    #[test]
    fn bfloat16_is_what_training_computes_with_and_close_to_float32() {
        let sequences = batch(&LENGTHS);
        for (model, parameters) in models() {
            let logits = |precision| {
                let logits = model.logits_in(precision, &parameters, &sequences);
                logits.unwrap()
            };
            let whole = logits(InferencePrecision::Float32);
            let rounded = logits(InferencePrecision::BFloat16);
            assert_eq!(logits(InferencePrecision::Float16), whole);
            let mut gradients = model.zero_gradients(Default::default()).unwrap();
            let pass = TrainingPass {
                precision: Precision::BFloat16,
                ..TrainingPass::plain(&sequences)
            };
            let trained = model
                .logits_and_gradients(
                    &parameters,
                    pass,
                    |logits| vec![0.0; logits.len()],
                    &mut gradients,
                    &mut Buffers::default(),
                )
                .unwrap();
            let largest = whole.iter().fold(0f32, |most, x| most.max(x.abs()));
            let apart = |a: &[f32], b: &[f32]| {
                let each = a.iter().zip(b).map(|(a, b)| (a - b).abs() / largest);
                each.fold(0f32, f32::max)
            };
            let from_float32 = apart(&rounded, &whole);
            assert!(from_float32 > 1e-4 && from_float32 < 0.03, "{from_float32}");
            // Sums in another order may round a state to the other side.
            let most = match model.config.pooling {
                Pooling::Mean => 1e-3,
                Pooling::Pooler | Pooling::Cls => 0.02,
            };
            let from_training = apart(&rounded, &trained);
            assert!(from_training <= most, "{from_training}");
        }
    }

    #[test]
    fn int8_models_are_computed_in_int8_whatever_is_asked_for() {
        let sequences = batch(&LENGTHS);
        let (model, parameters) = models().remove(0);
        let values = parameters.host().unwrap();
        let int8 = Parameters::Int8(quantized(&model.table, &values).unwrap().into());
        let logits = model.logits(&int8, &sequences).unwrap();
        for precision in [InferencePrecision::BFloat16, InferencePrecision::Float16] {
            assert_eq!(
                model.logits_in(precision, &int8, &sequences).unwrap(),
                logits
            );
        }
    }

    #[test]
    fn groups_hold_every_sequence_once_in_order() {
        for lengths in [vec![3], vec![64; 7], LENGTHS.repeat(20), vec![1; 1000]] {
            let batch = batch(&lengths);
            for threads in [1, 2, 3, 8, 64] {
                let groups = cut(&batch, threads).unwrap();
                assert_eq!(groups.first().map(|group| group.start), Some(0));
                assert_eq!(groups.last().map(|group| group.end), Some(lengths.len()));
                for pair in groups.windows(2) {
                    assert_eq!(pair[0].end, pair[1].start);
                }
                assert!(groups.iter().all(|group| !group.is_empty()));
                if batch.tokens() >= threads * 2 * GROUP_TOKENS && lengths.len() > 100 {
                    let tokens = |group: &Range<usize>| -> usize {
                        group.clone().map(|index| lengths[index]).sum()
                    };
                    let largest = groups.iter().map(tokens).max().unwrap();
                    assert!(largest <= GROUP_TOKENS + 64, "{largest}");
                }
            }
        }
    }

    #[test]
    fn no_sequences_have_no_answers() {
        let (model, parameters) = models().remove(0);
        assert!(
            model
                .logits(&parameters, &Batch::pack([]))
                .unwrap()
                .is_empty()
        );
    }
}
