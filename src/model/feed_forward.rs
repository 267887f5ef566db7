//! The feed-forward block with its residual and norm (`BertIntermediate` and `BertOutput`).

use candle_core::Tensor;

use super::config::HiddenAct;
use super::lora::Projection;
use super::parameters::LayerIndex;
use super::plain::{Pass, dropout_site};
use crate::error::Result;

impl Pass<'_> {
    /// The block's second half over states [batch, length, hidden_size].
    pub(super) fn feed_forward(
        &self,
        number: usize,
        layer: &LayerIndex,
        states: &Tensor,
    ) -> Result<Tensor> {
        let inner = self.projection(number, Projection::Intermediate, layer, states)?;
        let inner = match self.config.hidden_act {
            // In candle `gelu` is the tanh form and `gelu_erf` BERT's.
            HiddenAct::Gelu => inner.gelu_erf()?,
            HiddenAct::GeluTanh => inner.gelu()?,
            HiddenAct::Relu => inner.relu()?,
        };
        let output = self.dropout_states(
            dropout_site::feed_forward_output(number),
            self.config.hidden_dropout_prob,
            self.projection(number, Projection::Output, layer, &inner)?,
        )?;
        self.layer_norm(layer.output_norm, &(output + states)?)
    }
}
